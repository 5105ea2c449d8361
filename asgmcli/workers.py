"""Run a function over many inputs in processes that may crash or hang without taking the run with them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.context import ForkServerContext
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from asgmcli.errors import DataError

Input = TypeVar("Input")
Result = TypeVar("Result")
START_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason an input gave no result: `reason` is timeout, crash or error."""

    reason: str
    detail: str


def run_tasks(
    function: Callable[[Input], Result], tasks: Iterable[Input], workers: int, limit_s: float
) -> Iterator[tuple[Input, Result | Failure]]:
    """Yield (input, result) as results arrive, each from one of `workers` processes.

    A process that exceeds `limit_s` seconds for an input, or dies of it, is killed and replaced, and the input yields a
    `Failure`. Leaving the loop early kills the processes.

    Args:
        function: importable by name in the child; arguments and results can be pickled.
        tasks: inputs, consumed as needed.
        workers: number of processes, 1 or more.
        limit_s: seconds allowed for an input.

    Raises:
        DataError: the processes cannot be started.
    """
    # Not forked: a forked child would inherit our threads' locks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    waiting = iter(tasks)
    # One pool a process: a shared pool may report a crash for the previous file.
    crew: list[ProcessPool] = []
    running: dict[Future[Result | Failure], tuple[Input, int]] = {}

    def give(task: Input, number: int) -> None:
        if not crew[number].active:
            crew[number] = _start(context)
        running[crew[number].schedule(_guarded, (function, task), timeout=limit_s)] = (task, number)

    try:
        for task in islice(waiting, workers):
            crew.append(_start(context))
            give(task, len(crew) - 1)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, number = running.pop(future)
                answer = _answer(future, limit_s)
                for new in islice(waiting, 1):
                    give(new, number)
                yield task, answer
    finally:
        for pool in crew:
            pool.stop()
        for pool in crew:
            pool.join()


def _start(context: ForkServerContext) -> ProcessPool:
    """Return a pool of one process that has answered.

    Raises:
        DataError: it has not.
    """
    pool = ProcessPool(1, context=context)
    try:
        pool.schedule(int).result(START_LIMIT_S)
    except (BrokenProcessPool, ProcessExpired, TimeoutError) as error:
        pool.stop()
        pool.join()
        raise DataError(f"The processes that read files do not start: {error or 'no answer'}.") from None
    return pool


def _guarded(function: Callable[[Input], Result], task: Input) -> Result | Failure:
    """Call `function` in the child; return exceptions as a `Failure`, since some cannot be pickled."""
    try:
        return function(task)
    except Exception as error:
        return Failure("error", f"{type(error).__name__}: {error}"[:300])


def _answer(future: Future[Result | Failure], limit_s: float) -> Result | Failure:
    try:
        return future.result()
    except ProcessExpired as error:
        return Failure("crash", f"the process reading it died ({_in_words(error.exitcode)})")
    except BrokenProcessPool:  # it died before it was known to have begun
        return Failure("crash", "the process reading it died")
    except TimeoutError:
        return Failure("timeout", f"no answer within {limit_s:g} s")


def _in_words(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
