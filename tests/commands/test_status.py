"""`asgm status`: a table of what works and worked, as JSON too, and --watch until nothing runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asgmcli.cli import main
from asgmcli.status import Phase, Status


def asgm(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["status", *map(str, arguments)], env={"COLUMNS": "250"})
    assert result.exit_code == code, (result.output, result.exception)
    return result


def make(folder: Path, title: str) -> Status:
    folder.mkdir(parents=True)
    status = Status(folder / "status.json", "train", title, [Phase("train", 8)])
    status.begin("train")
    status.step(3, {"loss": 1.25, "learning_rate": 0.001})
    return status


def test_every_command_has_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no status.json there" in asgm().stdout
    assert "there is no such folder" in asgm("nowhere", code=3).stderr
    one = make(Path("runs/a/full/seed0"), "a/full/seed0")
    one.touch()
    one._write()
    make(Path("data/b"), "[red]b").end("failed", "x.mp4: broken")
    text = asgm().stdout
    working, failed = (next(line for line in text.splitlines() if name in line) for name in ("a/full", "[red]b"))
    assert "running" in working
    assert "3 of 8" in working
    assert "loss 1.25  learning_rate 0.001" in working
    assert "failed: x.mp4: broken" in failed
    assert "0 s ago" in failed or "1 s ago" in failed
    found = json.loads(asgm("runs", "--json").stdout)["commands"]
    assert [(item["step"], item["running"], item["path"]) for item in found] == [
        (3, True, "runs/a/full/seed0/status.json")
    ]


def test_watching_ends_with_the_last_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, shown = make(tmp_path / "run", "run"), 0

    def pass_time(seconds: float) -> None:
        nonlocal shown
        assert seconds == 5.0
        shown += 1
        if shown == 2:
            status.end("finished")

    monkeypatch.setattr(time, "sleep", pass_time)
    text = asgm(tmp_path, "--watch", "--every", 5).stdout
    assert shown == 2
    assert (text.count("running"), text.count("finished")) == (2, 1)
