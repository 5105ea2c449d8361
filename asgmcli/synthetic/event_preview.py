"""A sheet that shows a person what happens in generated clips: frames, sound, and the seconds of each event."""

from __future__ import annotations

import colorsys
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asgmcli.files import replacing
from asgmcli.media.seconds import SECONDS
from asgmcli.synthetic.sounds import AUDIO_RATE
from asgmcli.synthetic.spectrogram import LOWEST_HZ, RANGE_DB, spectrogram
from asgmcli.synthetic.things import Clip, Thing

INK, NOTE, PAPER = "#1f2430", "#6b7280", "white"
OTHER = (0.72, 0.74, 0.78)  # of what is no event
BAR, GAP = 0.82, 0.03  # height of a bar, and what is left free at its ends, of a line and a second
PICTURE, SOUND, LINE = 1.25, 0.62, 0.21  # inches
HEAD, BETWEEN, WIDTH, LEFT = 0.92, 0.34, 14.0, 0.135
EXPLANATION = (
    "A bar is an event's seconds: full where it is seen and heard, striped where only heard, hollow where only seen."
)
SPOILT = "Grey marks: seconds in which things are faint (below the picture) or noise covers the sound (above it)."


@dataclass(frozen=True)
class PreviewClip:
    """A clip: its things, `frames` uint8 [T, S, S, 3], `sound` float32 [samples] at 16 kHz."""

    clip: Clip
    frames: np.ndarray
    sound: np.ndarray


def draw_event_preview(path: Path, name: str, classes: Sequence[str], clips: Sequence[PreviewClip], fps: float) -> None:
    """Draw the clips one below the other to `path` (PNG), atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [max(1, len(clip.clip.things)) for clip in clips]
    heights = [PICTURE + SOUND + LINE * count + 0.12 for count in lines]
    total = HEAD + sum(heights) + BETWEEN * len(clips)
    figure = Figure(figsize=(WIDTH, total), facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.text(
        0.012, 1 - 0.14 / total, f"{name}: what happens, seen and heard", size=15, weight="bold", va="top", color=INK
    )
    told = EXPLANATION + (f"\n{SPOILT}" if any(clip.clip.faint or clip.clip.covered for clip in clips) else "")
    figure.text(0.012, 1 - 0.44 / total, told, size=9.5, va="top", color=NOTE)
    colours = class_colours(len(classes))
    top = total - HEAD
    for clip, count, height in zip(clips, lines, heights, strict=True):
        _draw_clip(
            figure, clip, fps, {label: colours[number] for number, label in enumerate(classes)}, top, count, total
        )
        top -= height + BETWEEN
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, metadata={"Software": None})


def class_colours(count: int) -> list[tuple[float, float, float]]:
    """Return a colour a class, as far apart as they go."""
    return [colorsys.hls_to_rgb((number * 0.618) % 1, 0.42 + 0.12 * (number % 2), 0.62) for number in range(count)]


def _in_order(clip: Clip, classes: Container[str]) -> list[Thing]:
    """Return the things: events first, each part by its start."""
    return sorted(
        clip.things,
        key=lambda thing: (thing.kind not in classes, min([*thing.visible, *thing.sounding], default=(0.0, 0.0))),
    )


def _draw_clip(
    figure: Any, clip: PreviewClip, fps: float, colours: dict[str, Any], top: float, count: int, total: float
) -> None:
    """Draw one clip below `top` inches: ten frames, the spectrogram, a line a thing."""

    def axes(y: float, height: float) -> Any:
        made = figure.add_axes((LEFT, (y - height) / total, 0.99 - LEFT, height / total))
        made.set_xlim(0, SECONDS)
        made.set_axis_off()
        return made

    picture = axes(top, PICTURE)
    middle = [min(len(clip.frames) - 1, int((second + 0.5) * fps)) for second in range(SECONDS)]
    picture.set_ylim(0, 1)
    for second, frame in enumerate(middle):
        picture.imshow(
            clip.frames[frame],
            extent=(second + GAP / 2, second + 1 - GAP / 2, 0, 1),
            aspect="auto",
            interpolation="bilinear",
        )
    sound = axes(top - PICTURE - 0.02, SOUND)
    power, frequency = spectrogram(clip.sound), np.fft.rfftfreq(512, 1 / AUDIO_RATE)
    rows = np.geomspace(LOWEST_HZ, AUDIO_RATE / 2, 90)
    columns = power[:, :: max(1, power.shape[1] // 900)]
    logarithmic = np.stack([np.interp(rows, frequency, column) for column in columns.T], axis=1)
    high = float(logarithmic.max())
    sound.imshow(
        logarithmic,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=high - RANGE_DB,
        vmax=high,
        extent=(0, SECONDS, 0, 1),
    )
    bars = axes(top - PICTURE - SOUND - 0.07, LINE * count)
    bars.set_ylim(count, 0)
    for second in range(SECONDS + 1):
        bars.axvline(second, color="#e5e7eb", linewidth=0.7, zorder=0)
    for axis, times, y in ((picture, clip.clip.faint, 0.02), (sound, clip.clip.covered, 0.98)):
        for start, end in times:
            axis.plot([start + 0.1, end - 0.1], [y, y], color="#9ca3af", linewidth=4)
    for line, thing in enumerate(_in_order(clip.clip, colours)):
        _draw_thing(bars, thing, line, colours)


def _draw_thing(bars: Any, thing: Thing, line: int, colours: Mapping[str, Any]) -> None:
    """Draw the seconds of a thing on its line, and its name before it."""
    second = np.arange(SECONDS)
    seen, heard = (
        np.array([any(start <= s < end for start, end in times) for s in second])
        for times in (thing.visible, thing.sounding)
    )
    colour = colours.get(thing.kind, OTHER)
    looks = (
        (seen & heard, {"facecolor": colour, "edgecolor": colour}),
        (heard & ~seen, {"facecolor": "none", "edgecolor": colour, "hatch": "/////"}),
        (seen & ~heard, {"facecolor": "none", "edgecolor": colour}),
    )
    for where, look in looks:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(int), [0]])))
        for first, after in zip(edges[::2], edges[1::2], strict=True):
            width = after - first - 2 * GAP
            bars.barh(line + 0.5, width, BAR, first + GAP, linewidth=1.2, **look)
    known = thing.kind in colours
    name = thing.kind if known else f"{thing.kind}, {'silent' if thing.visible else 'unseen'}"
    bars.text(-0.08, line + 0.5, name, ha="right", va="center", size=9, color=INK if known else NOTE)
