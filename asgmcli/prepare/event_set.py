"""A data set with events, opened: its windows one after the other, the class of each segment, and its splits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import read_segments
from asgmcli.data.split import hashed
from asgmcli.data.windows import Window, WindowSet, labels_of
from asgmcli.errors import DataError
from asgmcli.prepare.source import open_manifest
from asgmcli.recipe.events import EventData

BACKGROUND = "background"
"""The last class of a data set with events: no event."""


@dataclass(frozen=True)
class EventSet:
    """Clips with events, cut into windows of T segments.

    Attributes:
        source: manifest, events, T.
    """

    source: WindowSet

    @property
    def manifest(self) -> Manifest:
        """Return the manifest."""
        return self.source.manifest

    @property
    def classes(self) -> list[str]:
        """Return the class names, the background's last."""
        return self.manifest.classes

    @cached_property
    def windows(self) -> list[Window]:
        """Return the windows of all clips, in the manifest's order."""
        return [window for row in self.manifest.rows for window in self.source.of(row)]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Return the class of each segment, int64 [windows, T]; -1 beyond a clip's end."""
        source = self.source
        parts = [labels_of(source.of(row), source.segments.get(row.id, ()), self.classes) for row in self.manifest.rows]
        return np.concatenate(parts)

    @cached_property
    def first(self) -> dict[str, int]:
        """Return the number of each clip's first window."""
        found: dict[str, int] = {}
        for number, window in enumerate(self.windows):
            found.setdefault(window.row.id, number)
        return found

    def numbers(self, rows: list[ManifestRow]) -> NDArray[np.int64]:
        """Return the numbers of all windows of `rows`, in order."""
        parts = [np.arange(self.source.count(row), dtype=np.int64) + self.first[row.id] for row in rows]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def of_split(self, name: str) -> NDArray[np.int64]:
        """Return the numbers of a split's windows.

        Raises:
            DataError: the manifest has no split of this name.
        """
        return self.numbers(self.manifest.of_split(name))

    def categories(self) -> NDArray[np.int64]:
        """Return the class of each window's clip, int64 [windows]; -1 where it has none or several."""
        return np.array([self.manifest.label_index(window.row) for window in self.windows], dtype=np.int64)


def event_set(manifest: Manifest, seconds: int) -> EventSet:
    """Return a manifest's clips with their events, in windows of `seconds`.

    Raises:
        DataError: no events beside it, or its classes do not end with the background.
    """
    segments = read_segments(manifest)
    if not manifest.classes or manifest.classes[-1] != BACKGROUND:
        raise DataError(
            f"{manifest.path}: its classes do not end with '{BACKGROUND}', so it is no data set of events that are "
            "seen and heard. Prepare it by asgm prepare ave, events or demo_events."
        )
    return EventSet(WindowSet(manifest, segments, seconds))


def open_events(data: EventData, seconds: int) -> EventSet:
    """Open the manifest of a recipe's data set, with its events.

    Raises:
        DataError: no manifest, no events, a faulty file, or no clip to train on or to judge.
    """
    found = event_set(open_manifest(data), seconds)
    for split in (data.train_split, data.eval_split):
        if not found.manifest.of_split(split):
            raise DataError(
                f"{found.manifest.path}: no clip in split {split!r}. Give some clips of the list that split and "
                "prepare it anew, or name another by data.train_split or data.eval_split."
            )
    return found


def drawn(rows: list[ManifestRow], count: int | None, seed: int) -> list[ManifestRow]:
    """Return the `count` rows with the smallest seeded hash of their id, in their order; all where it is None.

    Raises:
        DataError: there are fewer.
    """
    if count is None:
        return rows
    if count > len(rows):
        raise DataError(f"data.labeled_clips asks for {count} labelled clips, there are {len(rows)}. Ask for fewer.")
    kept = {row.id for row in sorted(rows, key=lambda row: (hashed(seed, row.id), row.id))[:count]}
    return [row for row in rows if row.id in kept]
