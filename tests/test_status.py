"""status.json: the time left over all phases by hand, and what a reader finds of commands that work, ended, or died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asgmcli import status as module
from asgmcli.errors import DataError, Interrupted
from asgmcli.status import Phase, Status, ending, find_statuses, read_status


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_time_left_counts_phases_that_were_not_measured_by_their_expected_cost(tmp_path: Path, clock: Clock) -> None:
    status = Status(tmp_path / "status.json", "train", "run", [Phase("train", 10), Phase("evaluate", 2, cost=3.0)])
    status.begin("train")
    assert status.seconds_left is None  # nothing is measured
    clock.now = 2.0
    status.step(1)
    assert status.seconds_left == 9 * 2.0 + 2 * 3 * 2.0
    clock.now = 3.0  # half a step later
    assert status.seconds_left == 29.0
    clock.now = 4.0
    status.step(2)
    status.begin("evaluate")
    clock.now = 5.0
    status.step(1)  # a second each, where six were expected
    assert status.seconds_left == 8 * 2.0 + 1.0
    status.begin("train")
    clock.now = 21.0
    status.step(10)
    assert status.seconds_left == 1.0
    assert status.share == pytest.approx(21 / 22)


def test_what_an_earlier_process_did_is_no_measure_of_the_rate(tmp_path: Path, clock: Clock) -> None:
    status = Status(None, "train", "run", [Phase("train", 100)])
    status.begin("train", done=90)
    clock.now = 3.0
    status.step(91)
    assert status.data()["rate"] == pytest.approx(0.333)
    assert status.seconds_left == 27.0


def test_an_unknown_phase_makes_the_whole_unknown_and_the_present_one_is_told(clock: Clock) -> None:
    status = Status(None, "prepare", "x", [Phase("look", 4), Phase("copy", None)])
    status.begin("look")
    clock.now = 1.0
    status.step(1)
    assert (status.seconds_left, status.phase_left) == (None, 3.0)


def test_the_file_is_written_at_most_every_two_seconds_and_whole(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "status.json"
    status = Status(path, "train", "run", [Phase("train", 100)])
    status.begin("train")
    seen = []
    for step in range(1, 9):
        clock.now = step / 2
        status.step(step, {"loss": 1 / step})
        seen.append(json.loads(path.read_text())["step"])
    assert seen == [0, 0, 0, 4, 4, 4, 4, 8]
    data = json.loads(path.read_text())
    assert data["numbers"] == {"loss": 0.125}
    assert (data["rate"], data["seconds_left"]) == (2.0, 46.0)
    assert (data["host"], data["process"]) == (os.uname().nodename, os.getpid())
    assert [item.name for item in tmp_path.iterdir()] == ["status.json"]
    status.path = tmp_path / "gone" / "status.json"
    status.end("finished")  # a disk that takes nothing ends no work


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (None, "finished", ""),
        (DataError("a.mp4: broken\nmore"), "failed", "a.mp4: broken"),
        (Interrupted("Stopped at step 3"), "stopped", "Stopped at step 3"),
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt"),
    ],
)
def test_how_the_work_ended_is_told(tmp_path: Path, error: BaseException | None, state: str, message: str) -> None:
    def work() -> None:
        with ending(Status(tmp_path / "status.json", "train", "run", [Phase("train", 1)])):
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()
    data = json.loads((tmp_path / "status.json").read_text())
    assert (data["state"], data["message"], data["seconds_left"]) == (state, message, None)


def test_a_process_that_died_without_a_word_is_gone_and_other_files_are_no_status(tmp_path: Path) -> None:
    for name in ("alive", "dead", "elsewhere", "ended"):
        (tmp_path / name).mkdir()
        Status(tmp_path / name / "status.json", "train", name, [Phase("train", 1)]).begin("train")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    changes = {"dead": {"process": dead.pid}, "elsewhere": {"process": dead.pid, "host": "another"}}
    for name, change in {**changes, "ended": {"state": "finished"}}.items():
        path = tmp_path / name / "status.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    (tmp_path / "status.json").write_text('{"half')
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/status.json").write_text((tmp_path / "alive/status.json").read_text())
    found = {str(status.data["title"]): status.running for status in find_statuses([tmp_path])}
    assert found == {"alive": True, "dead": False, "elsewhere": True, "ended": False}
    assert read_status(tmp_path / "nothing.json") is None
