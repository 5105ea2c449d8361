"""How often a piece of work is timed, and what is told of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asgmcli.report.table import Cell, Table


@dataclass(frozen=True)
class Timing:
    """What was timed and the wall-clock milliseconds of each repeat."""

    name: str
    milliseconds: Sequence[float]

    def data(self) -> dict[str, str | int | float]:
        """What JSON holds of it."""
        values = sorted(self.milliseconds)
        return {
            "name": self.name,
            "repeats": len(values),
            "median_ms": round(statistics.median(values), 3),
            "fastest_ms": round(values[0], 3),
            "slowest_ms": round(values[-1], 3),
        }


def repeat(name: str, work: Callable[[], object], repeats: int, warm_up: int = 1) -> Timing:
    """Time `work` `repeats` times, after `warm_up` times that do not count."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - begin))
    return Timing(name, taken)


def timing_table(title: str, timings: Sequence[Timing], note: str = "") -> Table:
    """A line for each; milliseconds."""
    lines: list[list[Cell]] = []
    for timing in timings:
        found = timing.data()
        lines.append([found[key] for key in ("name", "median_ms", "fastest_ms", "slowest_ms", "repeats")])
    return Table(title, ["what", "median, ms", "fastest", "slowest", "repeats"], lines, note)
