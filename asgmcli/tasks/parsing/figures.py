"""Pictures of parsed clips: what is heard and seen, second by second, beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import Span, grid_to_spans
from asgmcli.errors import MediaError
from asgmcli.media.seconds import SECONDS, read_frames, read_sound
from asgmcli.metrics.parsing_segments import segment_scores
from asgmcli.recipe.parsing import ParsingEvaluation
from asgmcli.report.timeline import TimelineClip, Track, draw_timelines
from asgmcli.tasks.parsing.evaluate import Answers, decoded
from asgmcli.tasks.parsing.truth import MODALITIES

NAMES = {"audio": "heard", "visual": "seen"}
THUMBNAIL = 96
CASES = ("worst", "median", "best")


def case_figures(
    settings: ParsingEvaluation, answers: Answers, manifest: Manifest
) -> Mapping[str, Callable[[Path], object]]:
    """Return the picture of the best, the median and the worst clip."""
    return {"timeline": partial(_draw_cases, settings, answers, manifest)}


def _draw_cases(settings: ParsingEvaluation, answers: Answers, manifest: Manifest, path: Path) -> Path:
    assert answers.events is not None
    grid = decoded(settings, answers)
    scores = scores_of_windows(grid, answers.events)
    has = np.flatnonzero(answers.events.any(axis=(1, 2, 3)))
    order = has[np.argsort(scores[has], kind="stable")] if len(has) else np.argsort(scores, kind="stable")
    chosen = [order[0], order[len(order) // 2], order[-1]]
    rows = {row.id: row for row in manifest.rows}
    clips = []
    for title, number in zip(CASES[::-1], reversed(chosen), strict=True):
        row = rows[answers.ids[number]]
        name = f"{title}: {row.id}, F of sound and picture {100 * scores[number]:.0f}"
        place = answers.places[number]
        frames, wave = pictures_of(manifest, row, place)
        tracks = tracks_of(grid[number], answers.frame[number], answers.events[number], manifest.classes)
        clips.append(TimelineClip(name, float(SECONDS), tracks, frames, wave))
    return draw_timelines(clips, path, title="Who is heard, who is seen", labels=manifest.classes)


def scores_of_windows(grid: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return [N] how well each window is parsed: the mean of the segment F of its sound and of its picture, 0..1."""
    means: NDArray[np.float64] = segment_scores(grid, truth)[:, :2].mean(axis=1)
    return means


def tracks_of(
    grid: NDArray[np.bool_], frame: NDArray[np.float32], truth: NDArray[np.bool_] | None, classes: Sequence[str]
) -> list[Track]:
    """Return the tracks of a window: heard and seen, each below its truth."""
    tracks = []
    for number, modality in enumerate(MODALITIES):
        told = spans_of(grid[number], frame[:, number], classes, modality)
        known = None if truth is None else spans_of(truth[number], None, classes, modality)
        if known is not None:
            tracks.append(Track(f"{NAMES[modality]}, truth", known))
        tracks.append(Track(NAMES[modality], told, known))
    return tracks


def spans_of(
    grid: NDArray[np.bool_], probabilities: NDArray[np.float32] | None, classes: Sequence[str], modality: str
) -> list[Span]:
    """Return the runs of a grid [C, T]; their probability is the mean of `probabilities` [T, C] over a run."""
    return grid_to_spans(grid.T, probabilities, classes, modality=modality)


def pictures_of(
    manifest: Manifest, row: ManifestRow, place: int
) -> tuple[NDArray[np.uint8] | None, NDArray[np.float32] | None]:
    """Return a frame a second and the sound of a window; None of each that is not there any more."""
    frames = wave = None
    if row.fps > 0 and row.width > 0:
        try:
            frames = read_frames(manifest.resolve(row), row.fps, row.frames, place, 1, short_side=THUMBNAIL)
        except MediaError:
            frames = None
    sound = manifest.resolve_audio(row)
    if sound is not None:
        try:
            wave = read_sound(sound, place)
        except MediaError:
            wave = None
    return frames, wave
