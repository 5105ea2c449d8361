"""One time for several runs: how much of it each gets, given what each was expected to take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

LEAST_S = 1.0
"""Seconds that a run gets at least, where others have used up what there was: it trains one epoch."""


def makespan(costs: Sequence[float], places: int) -> float:
    """Return the seconds until all are done that take `costs`, begun in their order, `places` at a time."""
    free = [0.0] * max(places, 1)
    for cost in costs:
        place = free.index(min(free))
        free[place] += cost
    return max(free)


@dataclass
class Shares:
    """Gives each run that begins its part of the time that is left.

    Attributes:
        until: when all must be over, by `clock`.
        expected: seconds of each run, by title; only their proportions count, and those not named are like the mean.
        clock: seconds.
        ends: when each run that has begun must be over.
    """

    until: float
    expected: Mapping[str, float]
    clock: Callable[[], float] = time.monotonic
    ends: dict[str, float] = field(init=False, default_factory=dict)

    def begin(self, title: str, waiting: Sequence[str], running: Sequence[str], places: int) -> float:
        """Return the seconds for a run that begins now: what follows it in its place gets the rest.

        Args:
            title: of the run.
            waiting: runs that begin after it, in their order.
            running: those that are under way beside it.
            places: runs that are under way at a time.
        """
        now, own = self.clock(), self._cost(title)
        others = [max(self.ends[name] - now, 0.0) for name in running]
        free = [own, *others, *[0.0] * (places - 1 - len(others))]
        follows = 0.0
        for name in waiting:
            place = free.index(min(free))
            free[place] += self._cost(name)
            follows += self._cost(name) if place == 0 else 0.0
        seconds = max((self.until - now) * own / (own + follows), LEAST_S)
        self.ends[title] = now + seconds
        return seconds

    def _cost(self, title: str) -> float:
        mean = sum(self.expected.values()) / len(self.expected) if self.expected else 1.0
        return max(self.expected.get(title, mean), 1e-3)
