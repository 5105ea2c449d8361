"""The truth of windows: their bags of labels, and what is heard and seen in each second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import Segments, Span, spans_to_grid
from asgmcli.media.seconds import SECONDS, count_seconds

MODALITIES = ("audio", "visual")


@dataclass(frozen=True)
class Window:
    """Window `place` (from 0) of a clip, of whose seconds the first `real` are of the clip."""

    row: ManifestRow
    place: int
    real: int

    @property
    def start(self) -> int:
        """Return where it begins, s."""
        return SECONDS * self.place


@dataclass(frozen=True)
class Truth:
    """The truth of N windows.

    Attributes:
        bags: float32 [N, C] of 0 and 1.
        events: bool [N, 2, C, T], heard and seen in each second; None where no window's are known.
        real: bool [N, T], seconds that are of the clip.
    """

    bags: NDArray[np.float32]
    events: NDArray[np.bool_] | None
    real: NDArray[np.bool_]


def windows_of(row: ManifestRow, count: int) -> list[Window]:
    """Return the `count` windows of a clip."""
    seconds = min(count_seconds(row.duration), SECONDS * count)
    return [Window(row, place, max(0, min(SECONDS, seconds - SECONDS * place))) for place in range(count)]


def truth_of(manifest: Manifest, windows: Sequence[Window], segments: Segments) -> Truth:
    """Return what `segments` says of windows.

    The bag of a clip of one window is what names it as a whole (`clip`), with what is heard and seen in it where that
    is known; that of a longer one's windows is what is heard or seen in each.
    """
    shape = (len(windows), 2, len(manifest.classes), SECONDS)
    events, bags = np.zeros(shape, bool), np.zeros(shape[::2], np.float32)
    known = False
    numbers = {name: number for number, name in enumerate(manifest.classes)}
    alone = _alone(windows)
    for place, window in enumerate(windows):
        spans = segments[window.row.id]
        timed = [span for span in spans if span.modality != "clip"]
        known = known or bool(timed)
        for modality, name in enumerate(MODALITIES):
            events[place, modality] = _grid([span for span in timed if span.modality in ("", name)], manifest, window)
        named = [numbers[span.label] for span in spans if span.modality == "clip"] if alone[window.row.id] else []
        bags[place] = events[place].any(axis=(0, 2))
        if named:
            bags[place] = 0
            bags[place, named] = 1
    real = np.arange(SECONDS) < np.array([window.real for window in windows], int).reshape(-1, 1)
    events &= real[:, None, None, :]
    return Truth(bags, events if known else None, real)


def _alone(windows: Sequence[Window]) -> Mapping[str, bool]:
    """Return by clip id whether it has one window."""
    most: dict[str, int] = {}
    for window in windows:
        most[window.row.id] = max(most.get(window.row.id, 0), window.place)
    return {clip: place == 0 for clip, place in most.items()}


def _grid(spans: Sequence[Span], manifest: Manifest, window: Window) -> NDArray[np.bool_]:
    """Return bool [C, T] of the spans within a window."""
    moved = [Span(span.start - window.start, span.end - window.start, span.label) for span in spans]
    grid: NDArray[np.bool_] = spans_to_grid(moved, manifest.classes, SECONDS).T
    return grid
