from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asgmcli.workers import Failure, run_tasks


def behave(task: str) -> str:
    if task == "hang":
        time.sleep(600)
    if task == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "exit":
        os._exit(7)
    if task == "raise":
        raise ValueError("not a number")
    return f"{task} done"


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.long)])
def test_crashes_and_hangs_cost_only_their_own_task(workers: int) -> None:
    tasks = ["a", "killed", "b", "exit", "hang", "c", "raise", "d", "e"]
    begin = time.monotonic()
    answers: dict[str, Any] = dict(run_tasks(behave, tasks, workers, limit_s=1.0))
    assert time.monotonic() - begin < 30
    assert set(answers) == set(tasks)
    for name in "abcde":
        assert answers[name] == f"{name} done"
    assert answers["killed"] == Failure("crash", "the process reading it died (signal SIGKILL)")
    assert answers["exit"] == Failure("crash", "the process reading it died (exit code 7)")
    assert answers["hang"] == Failure("timeout", "no answer within 1 s")
    assert answers["raise"] == Failure("error", "ValueError: not a number")


def test_no_tasks_start_no_process() -> None:
    assert list(run_tasks(behave, [], 4, 1.0)) == []


def test_leaving_early_kills_the_processes_and_takes_no_more_tasks() -> None:
    taken: list[str] = []

    def tasks() -> Iterator[str]:
        for number in range(1000):
            taken.append(str(number))
            yield str(number)

    answers = run_tasks(behave, tasks(), 2, 10.0)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(taken) <= 4
    assert multiprocessing.active_children() == []


@dataclass
class Load:
    """Stands for what a function holds, such as a manifest: notes each time that it comes to a process."""

    noted: Path

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        with self.noted.open("a") as file:
            file.write("came\n")


def with_load(load: Load, task: int) -> int:
    return task


def test_what_a_function_holds_is_sent_to_a_process_once(tmp_path: Path) -> None:
    load = Load(tmp_path / "noted.txt")
    assert dict(run_tasks(partial(with_load, load), range(6), 1, 10.0)) == {number: number for number in range(6)}
    assert load.noted.read_text().splitlines() == ["came"]


def late(task: int) -> int:
    time.sleep(0.2 if task == 0 else 0.0)
    return task


def test_in_order_an_early_result_waits_and_few_are_begun_meanwhile() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(12):
            taken.append(number)
            yield number

    answers = run_tasks(late, tasks(), 2, 10.0, ahead=4)
    assert next(answers) == (0, 0)
    assert len(taken) <= 5  # 1 to 3 waited for 0; one more was taken as it was given out
    assert list(answers) == [(number, number) for number in range(1, 12)]


def test_in_order_a_crash_stands_in_its_place() -> None:
    found = [answer for _, answer in run_tasks(behave, ["a", "killed", "b"], 2, 10.0, ahead=2)]
    assert [found[0], found[2]] == ["a done", "b done"]
    assert found[1].reason == "crash"


SCRIPT = """
from asgmcli.workers import run_tasks
print(sorted(answer for _, answer in run_tasks(abs, [-1, 2], 1, 60.0)), __file__ is not None)
"""


def test_a_script_without_a_guard_is_not_run_again_in_the_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("[1, 2] True\n", 0), found.stderr
