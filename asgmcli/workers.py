"""Run a function over many inputs in processes that may crash or hang without taking the run with them."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from asgmcli.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")
START_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an input gave no result: `reason` is timeout, crash or error."""

    reason: str
    detail: str


class _Worker(Generic[Task]):
    """One process, its pipe, the task it is at and until when it may take."""

    def __init__(self, function: Callable[[Task], Any], task: Task) -> None:
        methods = multiprocessing.get_all_start_methods()
        # Not forked from here: a forked child would hold its siblings' pipes open and inherit our threads' locks.
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            context.set_forkserver_preload([function.__module__])
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, function), daemon=True)
        self.process.start()
        other.close()
        self.started = False
        self.task = task
        self.deadline = time.monotonic() + START_LIMIT_S

    def give(self, task: Task, limit_s: float) -> None:
        """Hand over a task; a process that has just died is noticed when its answer is awaited."""
        self.started = True
        self.task = task
        self.deadline = time.monotonic() + limit_s
        try:
            self.pipe.send(task)
        except OSError:
            self.deadline = 0.0

    def stop(self, patience_s: float = 0.0) -> int | None:
        """End the process; its exit code where it ended by itself within `patience_s`."""
        self.process.join(timeout=patience_s)
        code: int | None = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
        self.pipe.close()
        return code


def run_tasks(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, limit_s: float
) -> Iterator[tuple[Task, Result | Failure]]:
    """Yield (task, result) as results arrive, each from one of `workers` processes.

    A process that takes more than `limit_s` seconds for a task, or dies of it, is killed and replaced, and the task
    yields a `Failure`. Leaving the loop early kills the processes.

    Args:
        function: importable by name in the child, as must be what it takes and returns.
        tasks: inputs, taken as they are needed.
        workers: number of processes, 1 or more.
        limit_s: seconds a task may take.

    Raises:
        DataError: the processes cannot start at all.
    """
    waiting = iter(tasks)
    crew: list[_Worker[Task]] = []
    try:
        for task in waiting:
            crew.append(_Worker(function, task))
            if len(crew) >= workers:
                break
        while crew:
            soonest = min(worker.deadline for worker in crew)
            ready = set(wait([worker.pipe for worker in crew], timeout=max(soonest - time.monotonic(), 0.0)))
            for worker in list(crew):
                if worker.pipe not in ready and time.monotonic() < worker.deadline:
                    continue
                answer, alive = _answer(worker, worker.pipe in ready, limit_s)
                if not worker.started:
                    if not alive:
                        raise DataError(f"The processes that read files do not start: {answer.detail}.")
                    worker.give(worker.task, limit_s)
                    continue
                yield worker.task, answer
                _go_on(crew, worker, alive, function, waiting, limit_s)
    finally:
        for worker in crew:
            worker.stop()


def _answer(worker: _Worker[Any], heard: bool, limit_s: float) -> tuple[Any, bool]:
    """What the worker says, or how it failed, and whether it lives on."""
    if not heard:
        code = worker.stop()
        if code is None:
            return Failure("timeout", f"no answer within {limit_s:g} s"), False
        return Failure("crash", f"the process reading it died ({_in_words(code)})"), False
    try:
        return worker.pipe.recv(), True
    except (EOFError, OSError):
        code = worker.stop(patience_s=1.0)
        return Failure("crash", f"the process reading it died ({_in_words(code)})"), False


def _go_on(
    crew: list[_Worker[Task]],
    worker: _Worker[Task],
    alive: bool,
    function: Callable[[Task], Any],
    waiting: Iterator[Task],
    limit_s: float,
) -> None:
    """Give the worker its next task, in a new process if it died; dismiss it where none is left."""
    for task in waiting:
        if alive:
            worker.give(task, limit_s)
        else:
            crew[crew.index(worker)] = _Worker(function, task)
        return
    crew.remove(worker)
    if alive:
        worker.stop()


def _in_words(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """The child's loop: it says that it is there, then answers until the parent closes the pipe."""
    # Ctrl-C reaches the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pipe.send(None)
        while True:
            task = pipe.recv()
            answer: Any
            try:
                answer = function(task)
            except Exception as error:
                answer = Failure("error", f"{type(error).__name__}: {error}"[:300])
            pipe.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
