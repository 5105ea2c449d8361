"""Run a function over many inputs on a Ray cluster, each as `workers.run_tasks` does in a process of this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgmcli import __version__
from asgmcli.errors import DataError, InstallError
from asgmcli.workers import START_LIMIT_S, Failure, one_process, spread

KNOCK_S = 10.0  # for a cluster to take a connection
AT_ONCE = 2
"""Inputs that a core is given before its first is done, so that it never waits for the way there and back."""
LOOK_S = 1.0
"""Seconds between two looks at whether the cluster still has cores, and before one that did not come is asked again."""
START_TRIES = 8  # a core: one on a machine that has just gone fails until the cluster has noticed
MOST_LOSSES = 5  # cores that an input, or one that was there beside it, took along
_LOST = object()


@contextmanager
def ray_cluster(address: str) -> Iterator[None]:
    """Have `run_tasks`, within the block, spread its inputs over every core of the cluster at `address`.

    Every machine there sees the same files under the same names and has the same asgm installed. An input that a core
    was working at when it went away is given to another.

    Args:
        address: of the cluster, as `ray start` printed it, or `auto`: the one that runs on this machine, or that
            RAY_ADDRESS names.

    Raises:
        InstallError: ray is not installed.
        DataError: no cluster answers, or it runs another version of asgm.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray
    except ImportError as error:
        raise InstallError("ray is not installed. Install the extra: pip install 'asgm[ray]'") from error
    ends = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        signal.signal(signal.SIGTERM, ends)  # ray's own would pass by what the command does when it is stopped
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise DataError(f"No Ray cluster at {address} ({reason}). Start one: ray start --head") from None
    try:
        with spread(_over_the_cluster):
            yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Connect to HOST:PORT once: ray itself would go on trying for minutes.

    Raises:
        OSError: nothing answers.
    """
    host, colon, port = address.rpartition("/")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), KNOCK_S).close()


class _Core:
    """A core of the cluster: it has a process for the inputs, which may crash or hang without taking the core along."""

    def __init__(self, function: Callable[[Any], Any], limit_s: float) -> None:
        self.process = one_process(function, limit_s)

    def version(self) -> str:
        """Return which asgm runs there."""
        return __version__

    def answer(self, task: object) -> Any:
        """Return the result or the failure of an input."""
        self.process.give(task)
        ((_, _, found),) = self.process.ended()
        return found


def _over_the_cluster(
    function: Callable[[Any], Any], tasks: Iterator[Any], limit_s: float, ahead: int | None
) -> Iterator[tuple[Any, Any]]:
    """Yield (input, result) as `run_tasks` does.

    Raises:
        DataError: no core can run asgm, or every core went away.
    """
    cores = _Cores(function, limit_s)
    again: list[tuple[int, Any]] = []
    held: dict[int, tuple[Any, Any]] = {}
    fresh, begun, told = enumerate(tasks), 0, 0
    all_begun = False
    while not (all_begun and not again and not cores.working):
        while cores.idle and (again or ahead is None or begun - told < ahead):
            place, task = again.pop() if again else next(fresh, (-1, None))
            if place < 0:
                all_begun = True
                break
            begun = max(begun, place + 1)
            cores.give(place, task)
        for place, task, found in cores.ended(more=bool(again) or not all_begun):
            if found is _LOST:
                again.append((place, task))
            else:
                held[place] = (task, found)
        ready = sorted(held) if ahead is None else []
        while ahead is not None and told + len(ready) in held:
            ready.append(told + len(ready))
        for place in ready:
            told += 1
            yield held.pop(place)


class _Cores:
    """The cluster's cores: those asked for, those with room for an input, and what they work at.

    A core that goes away, or does not come up because its machine has just gone, is asked for again.
    """

    def __init__(self, function: Callable[[Any], Any], limit_s: float) -> None:
        import ray

        self.ray: Any = ray  # it left its functions without types
        remote: Any = ray.remote(num_cpus=1)(_Core)
        self.new_core: Callable[[], Any] = lambda: remote.remote(function, limit_s)
        self.asked: dict[Any, Any] = {}
        self.idle: list[Any] = []
        self.working: dict[Any, tuple[Any, int, Any]] = {}
        self.losses: Counter[int] = Counter()
        self.ever = False
        self.reason = "no core is free; add some: ray start --address=HEAD"
        self.last_sign = time.monotonic()
        there = self._cores_there()
        self.tries = there * START_TRIES
        for _ in range(there):
            self._ask()

    def give(self, place: int, task: object) -> None:
        """Let a core with room begin with an input."""
        core = self.idle.pop(0)
        self.working[core.answer.remote(task)] = (core, place, task)

    def ended(self, *, more: bool) -> Iterator[tuple[int, Any, Any]]:
        """Wait for answers; yield the place and the result of each, or `_LOST` where its core went away.

        Args:
            more: inputs are left that no core works at.

        Raises:
            DataError: there are, and no core will take them.
        """
        for answer in self._answers():
            if answer in self.asked:
                self._joins(self.asked.pop(answer), answer)
            else:
                yield self._result(answer)
        if more and not self.idle and not self.working:
            self._check()

    def _answers(self) -> list[Any]:
        awaited = [*self.working, *self.asked]
        try:
            return list(self.ray.wait(awaited, num_returns=1, timeout=LOOK_S)[0]) if awaited else []
        except SystemError as error:  # Python's word for what the handler of a signal raised within ray's own code
            raise (error.__cause__ or error) from None

    def _result(self, answer: Any) -> tuple[int, Any, Any]:
        core, place, task = self.working.pop(answer)
        try:
            found = self.ray.get(answer)
        except self.ray.exceptions.RayTaskError as error:
            raise DataError(f"A core of the Ray cluster failed: {_last_line(error)}") from error
        except self.ray.exceptions.RayError:  # its machine or its process has gone
            self.idle = [other for other in self.idle if other is not core]
            if all(other is not core for other, _, _ in self.working.values()):
                self._ask()
            self.last_sign = time.monotonic()
            self.losses[place] += 1
            gone = Failure("crash", f"{MOST_LOSSES} cores of the cluster went away while they worked at it")
            return place, task, gone if self.losses[place] >= MOST_LOSSES else _LOST
        self.last_sign = time.monotonic()
        self.idle.append(core)
        return place, task, found

    def _joins(self, core: Any, answer: Any) -> None:
        try:
            version = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:  # its machine has just gone, or asgm is not installed there
            self.reason = _last_line(error)
            if self.tries > 0:
                time.sleep(LOOK_S)
                self._ask()
            return
        if version != __version__:
            raise DataError(
                f"The Ray cluster runs asgm {version}, this machine {__version__}. Install the same on all."
            )
        self.ever = True
        self.last_sign = time.monotonic()
        self.idle += [core] * AT_ONCE

    def _ask(self) -> None:
        core = self.new_core()
        self.asked[core.version.remote()] = core
        self.tries -= 1

    def _check(self) -> None:
        waited = time.monotonic() - self.last_sign
        if self.asked and waited < START_LIMIT_S and self._cores_there():
            return
        if self.ever:
            raise DataError("Every core of the Ray cluster is gone. Run the same command again: what is done is kept.")
        raise DataError(f"No core of the Ray cluster can run asgm {__version__}: {self.reason}")

    def _cores_there(self) -> int:
        return int(self.ray.cluster_resources().get("CPU", 0))


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]
