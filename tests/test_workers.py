from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
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


@pytest.mark.parametrize("workers", [1, 3])
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
