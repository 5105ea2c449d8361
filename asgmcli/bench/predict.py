"""Measure what a clip costs a network that is asked: by itself, and with others at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from asgmcli.errors import DataError
from asgmcli.prepare.single import MediaFile
from asgmcli.report.table import Cell, Table
from asgmcli.report.timing import Timing, interleaved
from asgmcli.runs.bulk import Asked, Bulk, together_of, trained_of


def measure(run: Path, device: str, clips: Sequence[MediaFile], repeats: int) -> list[Timing]:
    """Time a network on one thread, in turns, each round on the next clips: one by one, and several at once.

    Returns:
        Timings of a clip, in milliseconds of a core.

    Raises:
        AsgmError: the network cannot be loaded.
        DataError: a clip cannot be read.
    """
    asked = Asked(run, device)
    trained, _ = trained_of(asked)
    threads, many = torch.get_num_threads(), together_of(trained)

    def ask(number: int, together: int) -> None:
        chosen = [clips[(number * many + place) % len(clips)] for place in range(many)]
        for told in Bulk(asked, 0, together).ask(chosen, trained):
            if told.error:
                raise DataError(told.error)

    torch.set_num_threads(1)
    try:
        works = {
            "one by one": lambda number: ask(number, 1),
            f"{many} at once": lambda number: ask(number, many),
        }
        timings = interleaved(works, repeats)
    finally:
        torch.set_num_threads(threads)
    return [Timing(one.name, [value / many for value in one.milliseconds]) for one in timings]


def table(timings: Sequence[Timing], cores: int) -> Table:
    """Return a table with a line for each way: a clip's milliseconds, clips a second of a core, and of all cores.

    One by one is a single process; `asgm predict` answers in as many as there are cores.
    """
    one = timings[0].median
    rows: list[list[Cell]] = [["one by one, in one process", one, 1000 / one, 1.0]]
    for timing in timings[1:]:
        rows += [
            [f"{timing.name}, in {count} process{'es' if count > 1 else ''}", timing.median, rate, rate * one / 1000]
            for count in sorted({1, cores})
            if (rate := 1000 * count / timing.median)
        ]
    note = "Processes: counted by their processor time, as on cores that nothing else uses."
    return Table("Predicting", ["what", "milliseconds of a core", "clips a second", "times"], rows, note)
