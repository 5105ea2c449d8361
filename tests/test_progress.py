"""Lines of a log: whole however long, with the rate and the time left."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from asgmcli import progress, status
from asgmcli.console import make_console
from asgmcli.progress import spoken_time, tracked


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "?"),
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (89 * 60, "89 min"),
        (2 * 3600, "2 h"),
        (12000, "3 h 20 min"),
        (100 * 3600, "4 days 4 h"),
    ],
)
def test_durations_as_a_person_says_them(seconds: float | None, words: str) -> None:
    assert spoken_time(seconds) == words


def test_a_log_gets_whole_lines_with_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    for module in (progress, status):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    out = io.StringIO()
    title = "a title " * 30
    with tracked(make_console(file=out), title, "prepare", tmp_path, later=["copying"]) as tell:
        for done in range(1, 8):
            clock.now = 3.0 * done
            tell(done, 10)
    lines = out.getvalue().splitlines()
    assert lines == [f"{title}: 4 of 10, 0.333/s, about 18 s left in this phase"]
    data = json.loads((tmp_path / "status.json").read_text())
    assert (data["state"], data["step"], data["of"]) == ("finished", 7, 10)
    assert [phase["name"] for phase in data["phases"]] == [title, "copying"]


def test_work_that_never_began_leaves_no_file(tmp_path: Path) -> None:
    with tracked(make_console(quiet=True), "x", "prepare", tmp_path):
        pass
    assert not list(tmp_path.iterdir())
