"""What a command prints: whole lines, letter by letter."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

from asgmcli.console import make_console, progress_bar

PACKAGE = Path(__file__).parents[1] / "asgmcli"
# Longer than any terminal, with a space to fold at, markup, an emoji's name and a number that rich would colour.
NAME = "/data/" + "a_long_name/" * 30 + "my clips/[red]x[/]:smile:/v[-1].mp4: 12345.678 of 1,234,567"


def test_a_line_is_whole_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = io.StringIO()
    make_console(file=out).print(NAME)
    assert out.getvalue() == NAME + "\n"


def test_standard_output_is_for_results_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("told")
    make_console(stderr=False).print("shown")
    make_console(quiet=True).print("never")
    assert capsys.readouterr() == ("shown\n", "told\n")


def drawn(terminal: bool, counted: bool = True) -> str:
    """What a bar that stands at 3 of 4 leaves behind."""
    out = io.StringIO()
    with progress_bar(Console(file=out, force_terminal=terminal, width=100), "rate", counted=counted) as bar:
        bar.add_task("clip[1].mp4", total=4, completed=3, rate="[7/s]")
    return out.getvalue()


def test_a_bar_counts_and_shows_names_as_they_are() -> None:
    text = drawn(terminal=True)
    assert "clip[1].mp4" in text
    assert "3/4" in text
    assert "[7/s]" in text
    assert "75%" not in text


def test_a_bar_of_a_share_shows_percents() -> None:
    text = drawn(terminal=True, counted=False)
    assert "75%" in text
    assert "3/4" not in text


def test_a_log_gets_no_bar() -> None:
    assert drawn(terminal=False) == ""


def test_whoever_prints_prints_there() -> None:
    """No module makes a console or a bar of its own, or passes print an option that could fold or mark up."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or path.name == "console.py":
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            shows = called == "print" and node.keywords and ast.unparse(node.func).endswith("console.print")
            if called in ("Console", "Progress") or shows:
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not wrong
