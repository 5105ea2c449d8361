"""Tables in terminals of several widths."""

from __future__ import annotations

import io

import pytest

from asgmcli.console import make_console
from asgmcli.report.table import Table

PATH = "/data/runs/demo/asgm_former/seed0/model.safetensors"
TABLE = Table(
    f"Evaluated: {PATH}",
    ["row", "weights", "top-1 of all"],
    [["video and audio, tube mask", PATH, "74.1 ± 5.1"], ["[red]x", "none", None]],
    note=f"Written to {PATH} by three seeds",
)


def shown(table: Table, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    make_console(file=out).print(table.rich())
    return [line.strip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [10, 40, 79, 80, 120, 300])
def test_no_path_or_number_is_folded_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(TABLE, width, monkeypatch)
    assert lines[0] == f"Evaluated: {PATH}"
    assert lines[-1] == f"Written to {PATH} by three seeds"
    assert sum(PATH in line and "74.1 ± 5.1" in line for line in lines) == 1
    assert any("[red]x" in line for line in lines)


def test_sentences_fold_between_words_to_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("", ["what", "n"], [["one two three four", 12], ["five", 3456]])
    # Rules and padding take 3 a column and 1: of 20 columns 13 are left, 9 for the words.
    assert shown(table, 20, monkeypatch)[1:] == [
        "what           n",
        "─" * 18,
        "one two       12",
        "three",
        "four",
        "five        3456",
        "",
    ]
    assert "one two three four     12" in shown(table, 80, monkeypatch)


def test_a_table_of_words_that_cannot_fold_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(Table("", ["a", "b"], [["x" * 30, 1]]), 20, monkeypatch)[-2] == "x" * 30 + "   1"


def test_a_name_that_would_be_a_tower_of_words_stands_above_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["one two three four", "10.5 ± 0.5", 12], ["five", "9.0 ± 0.1", 3456]]
    table = Table("", ["what", "top1", "n"], rows, bold=frozenset({0}))
    assert shown(table, 31, monkeypatch)[3:-1] == [
        "one two   10.5 ± 0.5     12",
        "three",
        "four",
        "five       9.0 ± 0.1   3456",
    ]
    lines = shown(table, 26, monkeypatch)
    assert lines[1] == "what         top1      n"
    assert lines[3:-1] == ["one two three four", "10.5 ± 0.5     12", "five", "9.0 ± 0.1   3456"]
    # A column that tells nothing yet is none of words.
    rows = [["one two three four", "10.5 ± 0.5", None], ["five", None, None]]
    empty = Table("", ["what", "top1", "gain of it"], rows)
    assert shown(empty, 26, monkeypatch)[5:7] == ["one two three four", "10.5 ± 0.5   –"]
    assert shown(Table("", ["what", "top1"], []), 26, monkeypatch)[1] == "what   top1"
    # Two columns of words fold as ever.
    words = Table("", ["what", "path", "n"], [["one two three four", PATH, 12]])
    assert sum("12" in line for line in shown(words, 26, monkeypatch)) == 1
    assert "one two three four" not in shown(words, 26, monkeypatch)
    # A long name folds to the terminal's width, and where numbers leave it room it folds beside them.
    long = Table("", ["what", "top1", "n"], [["one two three four five six", "10.5 ± 0.5", 12]])
    assert shown(long, 26, monkeypatch)[3:-1] == ["one two three four five", "six", "10.5 ± 0.5   12"]
    beside = Table("", ["what", "n"], [["word " * 40, 12]])
    assert shown(beside, 40, monkeypatch)[3].endswith("12")
    alone = Table("", ["what"], [["word " * 40]])
    assert max(map(len, shown(alone, 40, monkeypatch))) <= 40
