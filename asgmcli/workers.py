"""Run a function over many inputs in processes that may crash or hang without taking the run with them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from asgmcli.errors import DataError

Input = TypeVar("Input")
Result = TypeVar("Result")
START_LIMIT_S = 120.0
Spread = Callable[[Callable[[Any], Any], Iterator[Any], float, "int | None"], Iterator[tuple[Any, Any]]]
"""Runs (function, inputs, seconds allowed for one, `ahead` as of `run_tasks`) elsewhere."""
_SPREAD: ContextVar[Spread | None] = ContextVar("spread", default=None)


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason an input gave no result: `reason` is timeout, crash or error."""

    reason: str
    detail: str


class _WithoutMain(ForkServerProcess):
    """A process that does not import the program that starts it: a script without `if __name__` would run anew in it.

    What is called there is found by its own module's name.
    """

    _turn = threading.Lock()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - multiprocessing's own name
        main = sys.modules["__main__"]
        with _WithoutMain._turn:
            kept = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
            try:
                for name in kept:
                    setattr(main, name, None)
                return ForkServerProcess._Popen(process_obj)
            finally:
                for name, value in kept.items():
                    setattr(main, name, value)


class _Context(ForkServerContext):
    Process = _WithoutMain


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def spread(over: Spread) -> Iterator[None]:
    """Have `run_tasks`, within the block, run its inputs by `over`, whatever number of workers it is given."""
    token = _SPREAD.set(over)
    try:
        yield
    finally:
        _SPREAD.reset(token)


def is_spread() -> bool:
    """Return True where `run_tasks` runs its inputs on other machines."""
    return _SPREAD.get() is not None


def run_tasks(
    function: Callable[[Input], Result],
    tasks: Iterable[Input],
    workers: int,
    limit_s: float,
    *,
    ahead: int | None = None,
) -> Iterator[tuple[Input, Result | Failure]]:
    """Yield (input, result) as results arrive, each from one of `workers` processes.

    A process that exceeds `limit_s` seconds for an input, or dies of it, is killed and replaced, and the input yields a
    `Failure`. Leaving the loop early kills the processes.

    Args:
        function: importable by name in the child; arguments and results can be pickled.
        tasks: inputs, consumed as needed.
        workers: number of processes, 1 or more.
        limit_s: seconds allowed for an input.
        ahead: yield in the order of the inputs, with at most so many of them begun and not yet yielded.

    Raises:
        DataError: the processes cannot be started.
    """
    over = _SPREAD.get()
    if over is not None:
        yield from over(function, iter(tasks), limit_s, ahead)
        return
    crew = _crew(function, workers, limit_s)
    try:
        yield from crew.as_they_come(iter(tasks)) if ahead is None else crew.in_order(iter(tasks), ahead)
    finally:
        crew.stop()


def one_process(function: Callable[[Any], Any], limit_s: float) -> Crew:
    """Return a crew of one process, which starts with its first input."""
    return _crew(function, 1, limit_s)


def _crew(function: Callable[[Any], Any], workers: int, limit_s: float) -> Crew:
    # Not forked: a forked child would inherit our threads' locks.
    context = _Context()
    context.set_forkserver_preload([getattr(function, "func", function).__module__])
    return Crew(context, function, workers, limit_s)


class Crew:
    """Processes with one input each at a time. One pool a process: a shared one may blame the previous input."""

    def __init__(
        self, context: ForkServerContext, function: Callable[[Any], Any], workers: int, limit_s: float
    ) -> None:
        self.context, self.function, self.limit_s = context, function, limit_s
        self.pools: list[ProcessPool] = []
        self.idle = list(range(workers))[::-1]
        self.running: dict[Future[Any], tuple[int, Any, int]] = {}
        self.begun = 0

    def give(self, task: object) -> None:
        """Let an idle process begin with an input."""
        number = self.idle.pop()
        if number == len(self.pools):
            self.pools.append(_start(self.context, self.function))
        elif not self.pools[number].active:
            self.pools[number] = _start(self.context, self.function)
        future = self.pools[number].schedule(_guarded, (task,), timeout=self.limit_s)
        self.running[future] = (self.begun, task, number)
        self.begun += 1

    def ended(self) -> Iterator[tuple[int, Any, Any]]:
        """Wait until an input is done; yield those that are, with the place of each and its result."""
        for future in wait(self.running, return_when=FIRST_COMPLETED).done:
            place, task, number = self.running.pop(future)
            self.idle.append(number)
            yield place, task, _answer(future, self.limit_s)

    def as_they_come(self, tasks: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield inputs and results, the first done first."""
        self._fill(tasks)
        while self.running:
            for _, task, answer in self.ended():
                self._fill(tasks)
                yield task, answer

    def in_order(self, tasks: Iterator[Any], ahead: int) -> Iterator[tuple[Any, Any]]:
        """Yield inputs and results in the order of the inputs, at most `ahead` of them held or in work."""
        told = 0
        held: dict[int, tuple[Any, Any]] = {}
        self._fill(tasks, ahead)
        while self.running or held:
            while told not in held:
                for place, task, answer in self.ended():
                    held[place] = (task, answer)
                self._fill(tasks, ahead + told)
            yield held.pop(told)
            told += 1
            self._fill(tasks, ahead + told)

    def _fill(self, tasks: Iterator[Any], until: int | None = None) -> None:
        """Give inputs to all idle processes, up to `until` begun ones."""
        while self.idle and (until is None or self.begun < until):
            try:
                task = next(tasks)
            except StopIteration:
                return
            self.give(task)

    def stop(self) -> None:
        """End the processes."""
        for pool in self.pools:
            pool.stop()
        for pool in self.pools:
            pool.join()


def _start(context: ForkServerContext, function: Callable[[Any], Any]) -> ProcessPool:
    """Return a pool of one process that has answered; it is sent the function once, which may hold much.

    Raises:
        DataError: it has not.
    """
    pool = ProcessPool(1, initializer=_hold, initargs=(function,), context=context)
    try:
        pool.schedule(int).result(START_LIMIT_S)
    except (BrokenProcessPool, ProcessExpired, TimeoutError) as error:
        pool.stop()
        pool.join()
        raise DataError(f"The processes that read files do not start: {error or 'no answer'}.") from None
    return pool


_HELD: list[Callable[[Any], Any]] = []
"""The function of this process, where it is a child."""


def _hold(function: Callable[[Any], Any]) -> None:
    _HELD[:] = [function]


def _guarded(task: object) -> object:
    """Call the function in the child; return exceptions as a `Failure`, since some cannot be pickled."""
    try:
        return _HELD[0](task)
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
