"""Timelines: a clip's frames, its waveform, and a track of coloured bars for the truth and each answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from asgmcli.report.style import INK, LINES, MUTED, RULE, WIDTH, new_figure, save_figure

PALE = "#f1f2f4"
"""Background: no event."""
ERROR = "#dc2626"
"""The line under stretches where a track differs from the truth."""
MORE = ("#6baed6", "#fdae6b", "#a1d99b", "#bcbddc", "#d9c36a", "#7fc9c4", "#f4a3bd", "#a9afb8")
# Inches of a row of thumbnails, of the waveform, of a lane of bars, and between two clips.
_FRAMES, _WAVE, _LANE, _GAP = 0.8, 0.45, 0.3, 0.5
_COLUMNS = 900  # of the waveform's outline
_LETTER = 0.085  # inches of a bar's letter
_LABEL_LETTERS = 40
_LEGEND_COLUMNS = 3
_PALEST, _DARK = 0.3, 0.75  # shade of what is improbable; from which on letters are white


class Event(Protocol):
    """A span of time with a class, such as `asgmcli.data.segments.Span`."""

    @property
    def start(self) -> float:
        """Return the start, s."""

    @property
    def end(self) -> float:
        """Return the end, s."""

    @property
    def label(self) -> str:
        """Return the class."""

    @property
    def probability(self) -> float:
        """Return how sure it is, 0..1: the less, the paler its bar."""


@dataclass(frozen=True)
class Track:
    """A line of bars: `title` at its left, `spans` as bars, and `truth` with which it is compared, if there is one.

    Spans of several classes may overlap: each class then has a lane of its own.
    """

    title: str
    spans: Sequence[Event]
    truth: Sequence[Event] | None = None


@dataclass(frozen=True)
class TimelineClip:
    """A clip to draw.

    Attributes:
        title: stands above it.
        seconds: its length.
        tracks: lines of bars, from the top.
        frames: uint8 [n, H, W, 3], drawn side by side from the start to the end; None draws none.
        wave: float [S], spread over the length; None draws none.
    """

    title: str
    seconds: float
    tracks: Sequence[Track]
    frames: NDArray[np.uint8] | None = None
    wave: NDArray[np.floating[Any]] | None = field(default=None, repr=False)


def draw_timelines(
    clips: Sequence[TimelineClip],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    labels: Sequence[str] = (),
) -> Path:
    """Draw clips one below the other: frames, waveform, and the bars of their tracks.

    Args:
        clips: at least one.
        path: .png, .svg or .pdf.
        title: stands above all.
        labels: classes in the order in which they take colours; those that come without stand behind them.

    Raises:
        ValueError: no clip. UsageError: the suffix. DataError: the place cannot be written to.
    """
    if not clips:
        raise ValueError("a timeline needs at least one clip")
    return save_figure(path, lambda: _draw(clips, title, labels))


def differing(one: Sequence[Event], other: Sequence[Event], seconds: float) -> list[tuple[float, float]]:
    """Return the stretches (start, end), in seconds, in which two sets of events name different classes."""
    borders = sorted(
        {0.0, seconds, *(min(time, seconds) for span in (*one, *other) for time in (span.start, span.end))}
    )
    found: list[tuple[float, float]] = []
    for begin, end in pairwise(borders):
        middle = (begin + end) / 2
        if _at(one, middle) == _at(other, middle):
            continue
        if found and found[-1][1] == begin:
            begin = found.pop()[0]
        found.append((begin, end))
    return found


def _at(spans: Iterable[Event], time: float) -> set[str]:
    return {span.label for span in spans if span.start <= time < span.end}


def _lanes(track: Track) -> dict[str, int]:
    """Return the lane of each of a track's classes: one for all where no two events overlap, else one a class."""
    spans = sorted(track.spans, key=lambda span: span.start)
    names = list(dict.fromkeys(span.label for span in spans))
    apart = all(one.end <= other.start + 1e-9 for one, other in pairwise(spans))
    return dict.fromkeys(names, 0) if apart else {name: lane for lane, name in enumerate(names)}


def _height(track: Track) -> int:
    return max(_lanes(track).values(), default=0) + 1


def _draw(clips: Sequence[TimelineClip], title: str, labels: Sequence[str]) -> Figure:
    shown = {span.label for clip in clips for track in clip.tracks for span in track.spans}
    order = [name for name in labels if name in shown] + sorted(shown.difference(labels))
    colours = {name: (*LINES, *MORE)[place % (len(LINES) + len(MORE))] for place, name in enumerate(order)}
    heights = [_clip_heights(clip) for clip in clips]
    rows = -(-(len(order) + 2) // _LEGEND_COLUMNS)
    total = sum(sum(parts) for parts in heights) + _GAP * len(clips) + 0.22 * rows + (0.4 if title else 0.1)
    figure = new_figure(height=total)
    outer = figure.add_gridspec(len(clips), 1, height_ratios=[sum(parts) for parts in heights])
    for place, (clip, parts) in enumerate(zip(clips, heights, strict=True)):
        panels = outer[place].subgridspec(len(parts), 1, height_ratios=parts, hspace=0.02)
        _draw_clip(clip, [figure.add_subplot(panels[line]) for line in range(len(parts))], colours)
    handles = [Patch(color=colour, label=_short(name)) for name, colour in colours.items()]
    if any(span.probability < 1 for clip in clips for track in clip.tracks for span in track.spans):
        handles.append(Patch(color=MUTED, alpha=_shade(0.5), label="the paler, the less probable"))
    if any(track.truth is not None for clip in clips for track in clip.tracks):
        handles.append(Patch(color=ERROR, label="differs from the truth"))
    figure.legend(handles=handles, loc="outside lower left", ncols=_LEGEND_COLUMNS)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    return figure


def _clip_heights(clip: TimelineClip) -> list[float]:
    """Return the inches of a clip's panels: frames, waveform, bars."""
    parts = [] if clip.frames is None or not len(clip.frames) else [_frames_height(clip.frames)]
    parts += [] if clip.wave is None else [_WAVE]
    return [*parts, _LANE * sum(_height(track) for track in clip.tracks)]


def _frames_height(frames: NDArray[np.uint8]) -> float:
    count, height, width = frames.shape[:3]
    return float(min(_FRAMES, (WIDTH - 1.2) / count * height / width))


def _draw_clip(clip: TimelineClip, panels: list[Axes], colours: dict[str, str]) -> None:
    panels[0].set_title(clip.title, fontsize=10)
    for axes in panels:
        axes.set(xlim=(0, clip.seconds), yticks=[])
        axes.spines[:].set_visible(False)
        axes.tick_params(bottom=axes is panels[-1], labelbottom=axes is panels[-1])
    rest = list(panels)
    if clip.frames is not None and len(clip.frames):
        _draw_frames(rest.pop(0), clip.frames, clip.seconds)
    if clip.wave is not None:
        _draw_wave(rest.pop(0), clip.wave, clip.seconds)
    _draw_tracks(rest[0], clip, colours)


def _draw_frames(axes: Axes, frames: NDArray[np.uint8], seconds: float) -> None:
    each = seconds / len(frames)
    for place, frame in enumerate(frames):
        extent = (place * each + 0.01 * each, (place + 1) * each - 0.01 * each, 0, 1)
        axes.imshow(frame, extent=extent, aspect="auto", interpolation="bilinear")
    axes.set(xlim=(0, seconds), ylim=(0, 1))


def _draw_wave(axes: Axes, wave: NDArray[np.floating[Any]], seconds: float) -> None:
    """Draw the outline of a sound: lowest and highest sample of each column."""
    columns = [part for part in np.array_split(wave, min(_COLUMNS, max(len(wave), 1))) if len(part)]
    low, high = np.array([part.min() for part in columns]), np.array([part.max() for part in columns])
    times = (np.arange(len(columns)) + 0.5) * seconds / max(len(columns), 1)
    axes.fill_between(times, low, high, color=MUTED, linewidth=0.4)
    reach = max(float(np.abs(wave).max(initial=0.0)), 1e-3)
    axes.set_ylim(-1.05 * reach, 1.05 * reach)


def _draw_tracks(axes: Axes, clip: TimelineClip, colours: dict[str, str]) -> None:
    top = 0.0
    ticks: list[float] = []
    inches = (WIDTH - 1.2) / clip.seconds
    for track in clip.tracks:
        lanes = _lanes(track)
        height = _height(track)
        ticks.append(top + height / 2)
        axes.add_patch(Rectangle((0, top + 0.08), clip.seconds, height - 0.16, facecolor=PALE, linewidth=0))
        for span in track.spans:
            lane = top + lanes[span.label]
            width, shade = span.end - span.start, _shade(span.probability)
            box = Rectangle((span.start, lane + 0.12), width, 0.76, facecolor=(colours[span.label], shade), linewidth=0)
            axes.add_patch(box)
            room = int(width * inches / _LETTER)
            if room >= 4:
                text = _short(span.label, room)
                at = (span.start + width / 2, lane + 0.5)
                ink = "white" if shade >= _DARK else INK
                axes.text(*at, text, ha="center", va="center", fontsize=7.5, color=ink, clip_on=True)
        for begin, end in differing(track.spans, track.truth, clip.seconds) if track.truth is not None else ():
            below = (begin, top + height - 0.14)
            axes.add_patch(Rectangle(below, end - begin, 0.13, facecolor=ERROR, linewidth=0))
        top += height
    axes.set(ylim=(top, 0), xlim=(0, clip.seconds), yticks=ticks, yticklabels=[track.title for track in clip.tracks])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=RULE)
    axes.set_axisbelow(True)
    axes.set_xlabel("seconds", fontsize=8, color=INK, labelpad=1)


def _shade(probability: float) -> float:
    """Return the opacity of a bar."""
    return max(_PALEST, min(1.0, probability))


def _short(text: str, letters: int = _LABEL_LETTERS) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
