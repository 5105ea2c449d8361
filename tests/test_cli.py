"""The command group itself: what it lists, what it suggests, and that it answers at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from asgmcli import __version__
from asgmcli.cli import COMMANDS, MEANT, main


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.output


def test_help_lists_every_command_with_a_line_of_its_own() -> None:
    code, text = invoke("--help")
    assert code == 0
    assert "asgm train recipes/demo.yaml" in text
    listed = text.split("Commands:")[1]
    for name in COMMANDS:
        (line,) = [line for line in listed.splitlines() if line.split()[:1] == [name]]
        assert len(line.split()) > 3, name
        assert not line.endswith("..."), name  # click cuts what does not fit a line
    assert invoke("-h") == (code, text)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_speaks_json(name: str) -> None:
    words = {"prepare": ["prepare", "demo"]}.get(name, [name])
    code, text = invoke(*words, "--help")
    assert code == 0
    assert f"main {' '.join(words)}" in text
    assert "--json" in text


def test_the_version() -> None:
    assert invoke("--version") == (0, f"asgm, version {__version__}\n")


def test_an_unknown_command_suggests_the_nearest() -> None:
    code, text = invoke("trian")
    assert code == 2
    assert "No such command 'trian'" in text
    assert "train" in text.split("'trian'")[1]
    assert "Traceback" not in text


def test_what_other_tools_call_a_command_is_answered_with_ours_and_all_others_listed() -> None:
    for word, meant in (("infer", "predict"), ("fit", "train"), ("Evaluate", "eval"), ("list", "recipes")):
        code, text = invoke(word)
        assert code == 2
        assert f"No such command '{word}'. Did you mean '{meant}'? Commands: " in text
    assert set(MEANT.values()) <= set(COMMANDS)
    assert not set(MEANT) & set(COMMANDS)
    code, text = invoke("xyzzy")
    assert code == 2
    assert f"No such command 'xyzzy'. Commands: {', '.join(COMMANDS)}." in text


def test_a_name_that_begins_with_a_dash_is_a_path_where_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = invoke("localize", "-dash.mp4")
    assert (code, "No such option" in text) == (2, True)
    for name in ("-dash.mp4", "-h", "--json", "--out=x", "-recipe.yaml"):
        Path(name).write_text("neither a clip nor a recipe")
    for command in ("localize", "visualize-masks", "export", "eval"):
        code, text = invoke(command, "-dash.mp4")
        assert (code, "-dash.mp4" in text, "No such option" in text) == (3, True, False), text
    code, text = invoke("train", "-recipe.yaml")
    assert (code, "-recipe.yaml: " in text, "No such option" in text) == (2, True, False), text
    assert invoke("localize", "--", "-dash.mp4")[0] == invoke("localize", "./-dash.mp4")[0] == 3
    # An option stays one.
    assert "Usage: main localize" in invoke("localize", "-h")[1]
    assert "Missing argument" in invoke("localize", "--json")[1]
    assert "Missing argument" in invoke("localize", "--out=x")[1]


def test_names_that_are_not_utf8_are_shown_escaped(tmp_path: Path) -> None:
    """On a standard output that is strict, as a real one is."""
    columns = "id,path,label,split,duration,fps,frames,width,height,audio,note"
    row = b"a,a.mp4,caf\xe9,train,1,8,8,32,32,,"
    (tmp_path / "manifest.csv").write_bytes(columns.encode() + b"\n" + row + b"\n")
    result = CliRunner().invoke(main, ["prepare", "folder", "--out", str(tmp_path), "--show-split"])
    assert result.exit_code == 0, result.output
    assert r"caf\udce9" in result.stdout
