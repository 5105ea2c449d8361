"""Time a piece of work repeatedly, and report it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """The name of what was timed and the milliseconds of each repeat."""

    name: str
    milliseconds: Sequence[float]

    @property
    def median(self) -> float:
        """Return the median in milliseconds."""
        return statistics.median(self.milliseconds)

    def data(self) -> dict[str, str | int | float]:
        """Return the timing as JSON data."""
        values = sorted(self.milliseconds)
        return {
            "name": self.name,
            "repeats": len(values),
            "median_ms": round(self.median, 3),
            "fastest_ms": round(values[0], 3),
            "slowest_ms": round(values[-1], 3),
        }


def interleaved(works: Mapping[str, Callable[[int], object]], repeats: int) -> list[Timing]:
    """Time several works in turns, each in every round, so that other load falls on all alike.

    Args:
        works: by name; each is called with the number of the round, -1 in the warm-up round.
        repeats: rounds that count.

    Returns:
        A timing of each in this process's processor time, in which others' work does not count; in their order.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(-1, repeats):
        for name, work in works.items():
            begin = time.process_time()
            work(number)
            if number >= 0:
                taken[name].append(1000 * (time.process_time() - begin))
    return [Timing(name, values) for name, values in taken.items()]
