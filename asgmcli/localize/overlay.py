"""A heat map laid over its frame, and a strip of such frames with the loudness of the sound below."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from asgmcli.report.style import ACCENT, BLUE, HEAT, MUTED, new_figure, save_figure

Frame = NDArray[np.uint8]
Floats = NDArray[np.float32]

ALPHA = 0.75
"""How much of the picture the hottest place hides."""
FAINT_ALPHA = 0.25
"""The same where the place is not sure."""
QUIETEST = -50.0
"""Decibels below the clip's loudest moment at which the loudness curve ends."""
PER_LINE = 4
LEVEL_RATE = 100
"""Values of the loudness a second."""


def overlay(frame: Frame, heatmap: Floats, alpha: float = ALPHA) -> Frame:
    """Blend a heat map in colour over a frame; uint8 [H,W,3].

    Args:
        frame: uint8 [H,W,3].
        heatmap: [h,w] in [0, 1], spread bilinearly over the frame. Its smallest value shows nothing, so that a uniform
            map leaves the picture as it is.
        alpha: how much of the picture a heat of 1 hides, 0 to 1.
    """
    heat = np.asarray(heatmap, dtype=np.float32)
    size = (frame.shape[1], frame.shape[0])
    smooth = Image.fromarray(heat - heat.min()).resize(size, Image.Resampling.BILINEAR)
    levels = np.clip(np.asarray(smooth) * 255 + 0.5, 0, 255).astype(np.uint8)
    colour, remains = _blend(round(alpha * 255))
    # Sixteen bits hold 255 x 256: no float copy of the picture is made.
    mixed: Frame = ((frame * remains[levels][..., None] + colour[levels]) >> 8).astype(np.uint8)
    return mixed


def with_caption(frame: Frame, text: str) -> Frame:
    """Return the frame uint8 [H,W,3] with `text` in its lower left corner, white on a dark ground; as it is without."""
    if not text:
        return frame
    picture = Image.fromarray(frame)
    draw = ImageDraw.Draw(picture, "RGBA")
    size = max(9.0, min(frame.shape[0] / 16, 1.6 * frame.shape[1] / len(text)))
    font = ImageFont.load_default(size)
    edge = size / 3
    place = (edge, frame.shape[0] - edge)
    left, top, right, bottom = draw.textbbox(place, text, font=font, anchor="lb")
    draw.rectangle((left - edge, top - edge, right + edge, bottom + edge), fill=(0, 0, 0, 150))
    draw.text(place, text, font=font, anchor="lb", fill=(255, 255, 255, 255))
    captioned: Frame = np.asarray(picture)
    return captioned


@lru_cache(maxsize=8)
def _blend(alpha: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return for each of 256 heats its colour times its share [256,3], and the picture's share [256], in 256ths."""
    heat = np.linspace(0, 1, 256)
    share = alpha / 255 * heat
    colours = matplotlib.colormaps[HEAT](heat)[:, :3] * 255
    return (colours * share[:, None] * 256).astype(np.uint16), np.round((1 - share) * 256).astype(np.uint16)


def strip(
    frames: Sequence[Frame],
    heatmaps: Sequence[Floats],
    times: Sequence[float],
    level: Floats,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    boxes: Sequence[Sequence[float] | None] | None = None,
    captions: Sequence[str] | None = None,
    faint: Sequence[bool] | None = None,
) -> Path:
    """Draw N moments of a clip with where its sound comes from, and its loudness over time below.

    Args:
        frames: N of uint8 [H,W,3].
        heatmaps: N of [h,w] in [0, 1].
        times: seconds of the N frames.
        level: loudness (root mean square) of the whole clip, 100 values a second.
        path: .png, .svg or .pdf.
        title: stands above.
        boxes: for each frame (x0, y0, x1, y1) in fractions of its width and height, or None.
        captions: for each frame what stands above it beside its time.
        faint: for each frame whether its heat is shown faintly.

    Raises:
        UsageError: the suffix.
    """
    count = len(frames)
    marks = list(boxes) if boxes is not None else [None] * count
    alphas = [FAINT_ALPHA if one else ALPHA for one in faint or [False] * count]
    heads = [f"{time:.1f} s   {text}".rstrip() for time, text in zip(times, captions or [""] * count, strict=True)]
    pictures = [overlay(*three) for three in zip(frames, heatmaps, alphas, strict=True)]
    return save_figure(path, lambda: _draw_strip(pictures, heads, times, np.asarray(level), title, marks))


def strip_of_pictures(
    frames: Sequence[Frame],
    heads: Sequence[str],
    times: Sequence[float],
    level: Floats,
    path: str | os.PathLike[str],
    *,
    title: str = "",
) -> Path:
    """Draw N moments of a clip as they are given, and its loudness over time below.

    Args:
        frames: N of uint8 [H,W,3].
        heads: what stands above each.
        times: seconds of the N frames.
        level: loudness (root mean square) of the whole clip, 100 values a second.
        path: .png, .svg or .pdf.
        title: stands above.

    Raises:
        UsageError: the suffix.
    """
    marks = [None] * len(frames)
    draw = partial(_draw_strip, frames, heads, times, np.asarray(level), title, marks, heat=False)
    return save_figure(path, draw)


def _draw_strip(
    frames: Sequence[Frame],
    heads: Sequence[str],
    times: Sequence[float],
    level: Floats,
    title: str,
    boxes: Sequence[Sequence[float] | None],
    heat: bool = True,
) -> Figure:
    columns = min(len(frames), PER_LINE)
    lines = -(-len(frames) // columns)
    tall = frames[0].shape[0] / frames[0].shape[1]
    # A few upright frames would make a figure much taller than wide.
    width = min(8.0 / columns, 3.2 / tall)
    figure = new_figure(height=lines * (width * tall + 0.3) + 1.7, width=max(columns * width + 1.0, 5.0))
    grid = figure.add_gridspec(lines + 1, columns, height_ratios=[width * tall + 0.25] * lines + [1.0])
    pictures = []
    for index, frame in enumerate(frames):
        axes = figure.add_subplot(grid[index // columns, index % columns])
        axes.imshow(frame, interpolation="bilinear")
        axes.set_title(heads[index], fontsize=9, fontweight="normal", pad=3)
        axes.axis("off")
        if boxes[index] is not None:
            draw_box(axes, boxes[index] or (), frame.shape)
        pictures.append(axes)
    _draw_loudness(figure.add_subplot(grid[lines, :]), level, times)
    if heat:
        bar = figure.colorbar(ScalarMappable(cmap=HEAT), ax=pictures, shrink=0.8, aspect=24, pad=0.015)
        bar.set_label("where the sound comes from", fontsize=9)
        bar.set_ticks([0, 0.5, 1])
        bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def draw_box(axes: Axes, box: Sequence[float], shape: tuple[int, ...]) -> None:
    """Draw a box (x0, y0, x1, y1 in fractions) on a shown frame of `shape` (H, W, ...) in white with a dark edge."""
    height, width = shape[:2]
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    corners = ([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0])
    axes.plot(*corners, color="black", linewidth=2.2, alpha=0.5, scalex=False, scaley=False)
    axes.plot(*corners, color="white", linewidth=1.2, scalex=False, scaley=False)


def _draw_loudness(axes: Axes, level: Floats, times: Sequence[float]) -> None:
    loudest = max(float(level.max()) if len(level) else 0.0, 1e-6)
    decibels = np.maximum(20 * np.log10(np.maximum(level, 1e-9) / loudest), QUIETEST)
    seconds = (np.arange(len(level)) + 0.5) / LEVEL_RATE
    axes.fill_between(seconds, QUIETEST, decibels, color=BLUE, alpha=0.3, linewidth=0)
    axes.plot(seconds, decibels, color=BLUE, linewidth=0.8)
    for time in times:
        axes.axvline(time, color=ACCENT, linewidth=1.0, alpha=0.8)
    axes.set_ylim(QUIETEST, 3)
    end = max(float(seconds[-1]) if len(seconds) else 0.0, max(times, default=0.0), 0.1)
    axes.set_xlim(min(0.0, *times), end)
    axes.set_ylabel("loudness, dB")
    axes.set_xlabel("time, s (the frames above are marked)", color=MUTED)
