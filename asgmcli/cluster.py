"""Run a function over many inputs on a Ray cluster, each as `workers.run_tasks` does in a process of this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgmcli import __version__
from asgmcli.errors import DataError, InstallError
from asgmcli.workers import START_LIMIT_S, one_process, spread

KNOCK_S = 10.0  # for a cluster to take a connection
AT_ONCE = 2
"""Inputs that a core is given before its first is done, so that it never waits for the way there and back."""


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
        DataError: every core went away.
    """
    import ray

    remote = ray.remote(num_cpus=1)(_Core)
    there = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]  # ray left it without types
    cores = [remote.remote(function, limit_s) for _ in range(int(there))]
    idle = _ready(cores)
    running: dict[Any, tuple[Any, int, Any]] = {}
    again: list[tuple[int, Any]] = []
    held: dict[int, tuple[Any, Any]] = {}
    fresh, begun, told = enumerate(tasks), 0, 0
    while True:
        while idle and (again or ahead is None or begun - told < ahead):
            place, task = again.pop() if again else next(fresh, (-1, None))
            if place < 0:
                break
            begun = max(begun, place + 1)
            core = idle.pop(0)
            running[core.answer.remote(task)] = (core, place, task)
        if not running and not again:
            return
        for done in ray.wait(list(running), num_returns=1)[0]:
            core, place, task = running.pop(done)
            try:
                held[place] = (task, ray.get(done))
                idle.append(core)
            except ray.exceptions.RayActorError:
                again.append((place, task))
                idle = [other for other in idle if other is not core]
        if again and not idle and not running:
            raise DataError("Every core of the Ray cluster is gone. Run the same command again: what is done is kept.")
        ready = sorted(held) if ahead is None else []
        while ahead is not None and told + len(ready) in held:
            ready.append(told + len(ready))
        for place in ready:
            told += 1
            yield held.pop(place)


def _ready(cores: list[Any]) -> list[Any]:
    """Return the cores that have answered, each as often as it is given inputs at once.

    Raises:
        DataError: none did, or one runs another version of asgm.
    """
    import ray

    asked = {core.version.remote(): core for core in cores}
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=START_LIMIT_S) if asked else ([], [])
    there, reason = [], "no core is free; add some: ray start --address=HEAD"
    for answer in answered:
        try:
            version = ray.get(answer)
        except ray.exceptions.RayError as error:  # its machine has just gone, or asgm is not installed there
            reason = str(error).strip().rpartition("\n")[2]
            continue
        if version != __version__:
            raise DataError(
                f"The Ray cluster runs asgm {version}, this machine {__version__}. Install the same on all."
            )
        there.append(asked[answer])
    if not there:
        raise DataError(f"No core of the Ray cluster can run asgm {__version__}: {reason}")
    return there * AT_ONCE
