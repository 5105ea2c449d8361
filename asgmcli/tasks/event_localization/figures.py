"""Clips as timelines (Figure 8): frames, sound, the truth, and the answers of one network or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import Span, labels_to_spans
from asgmcli.data.windows import MIDDLE, Window, read_frames
from asgmcli.errors import MediaError
from asgmcli.media.audio import read_audio
from asgmcli.media.vggish_mel import RATE
from asgmcli.metrics.segments import IGNORED
from asgmcli.prepare.event_set import EventSet
from asgmcli.report.style import LINES, new_figure, save_figure
from asgmcli.report.timeline import MORE, TimelineClip, Track, draw_timelines

if TYPE_CHECKING:
    from asgmcli.tasks.event_localization.evaluate import Judged

THUMBNAIL = 120  # pixels, the short side of a frame
MOST_FRAMES = 10  # side by side


def draw_cases(found: Mapping[str, Judged], events: EventSet, path: Path) -> Path:
    """Draw the best, the median and the worst clip of the last of `found`, with the answers of all.

    Args:
        found: answers on the same windows, by what they are called.
        events: the data set.
        path: of the picture.
    """
    last = list(found.values())[-1]
    order = np.argsort(-last.right, kind="stable")
    places = dict.fromkeys([int(order[0]), int(order[len(order) // 2]), int(order[-1])])
    titles = ("best", "median", "worst")
    clips = [_case(title, place, found, events) for title, place in zip(titles, places, strict=False)]
    return draw_timelines(clips, path, labels=events.classes, title="The best, the median and the worst clip")


def _case(title: str, place: int, found: Mapping[str, Judged], events: EventSet) -> TimelineClip:
    """Return one window with the truth and all answers."""
    last = list(found.values())[-1]
    window = events.windows[int(last.numbers[place])]
    truth = spans_of(last.labels[place], events.classes, window.real)
    tracks = [Track("truth", truth)]
    tracks += [
        Track(name, spans_of(answer.predicted[place], events.classes, window.real), truth)
        for name, answer in found.items()
    ]
    words = f"{title}: {window.row.id}, {100 * last.right[place]:.0f}% of its segments right"
    frames, wave = pictures(events.manifest, [window])
    return TimelineClip(words, float(window.real), tracks, frames, wave)


def spans_of(labels: NDArray[np.int64], classes: Sequence[str], real: int) -> list[Span]:
    """Return the events in the first `real` segments of a window's labels [T]."""
    kept = np.where(labels[:real] == IGNORED, len(classes) - 1, labels[:real])
    return labels_to_spans(kept, np.ones(real), classes)


def pictures(manifest: Manifest, windows: Sequence[Window]) -> tuple[NDArray[np.uint8] | None, NDArray[np.float32]]:
    """Return frames spread over a clip's windows, and its sound; None and silence where they cannot be read."""
    row: ManifestRow = windows[0].row
    seconds = [(window, second) for window in windows for second in range(window.real)]
    length = len(seconds)
    count = min(length, MOST_FRAMES)
    shown = [seconds[int((place + 0.5) * length / count)] for place in range(count)]
    frames: NDArray[np.uint8] | None
    try:
        frames = np.concatenate([_frame(manifest, window, second) for window, second in shown])
    except MediaError:
        frames = None
    path = manifest.resolve_audio(row)
    try:
        sound = read_audio(path, RATE, float(windows[0].start), float(length)) if path is not None else None
    except MediaError:
        sound = None
    return frames, np.zeros(length, np.float32) if sound is None else sound


def _frame(manifest: Manifest, window: Window, second: int) -> NDArray[np.uint8]:
    """Return the middle frame of one second, [1, H, W, 3]."""
    one = Window(window.row, window.start + second, 1, 1)
    frame: NDArray[np.uint8] = read_frames(manifest, one, [MIDDLE], THUMBNAIL).numpy()
    return frame


def draw_features(streams: Mapping[str, NDArray[np.float32]], names: Sequence[str], path: Path) -> Path:
    """Draw places [n, 2] of segments, a panel a stream, a colour a class (Figure 7)."""
    return save_figure(path, lambda: _scatter(streams, names))


def _scatter(streams: Mapping[str, NDArray[np.float32]], names: Sequence[str]) -> Figure:
    classes = list(dict.fromkeys(sorted(names)))
    figure = new_figure(height=7.5)
    panels = figure.subplots(2, 2)
    for axes, (title, places) in zip(panels.flat, streams.items(), strict=True):
        axes.set_title(title)
        axes.set(xticks=[], yticks=[])
        for number, name in enumerate(classes):
            mine = places[[place for place, own in enumerate(names) if own == name]]
            colour = (*LINES, *MORE)[number % (len(LINES) + len(MORE))]
            axes.scatter(mine[:, 0], mine[:, 1], s=7, color=colour, linewidths=0, alpha=0.8, label=name)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, markerscale=2)
    return figure
