"""A contact sheet that shows a person what each class is: frames with the sounding sprite's box, and the sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from asgmcli.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpecBase

FRAMES = 8
WINDOW = 512  # samples of the spectrogram's window: 32 ms at 16 kHz
HOP = 128
RANGE_DB = 60.0  # from the loudest point down to black
LOWEST_HZ = 80.0
BOX = "#ffe600"
NOTE = "#555555"
ROW_INCHES, HEAD_INCHES = 1.34, 0.72
EXPLANATION = "yellow: the sprite that sounds. Its shape and motion are the class; the last picture shows its path."


@dataclass(frozen=True)
class PreviewClip:
    """A clip of one class, and in words what it sounds like.

    `frames` uint8 [T, H, W, 3], `boxes` of the source int [T, 4] in pixels, `sound` float [S].
    """

    name: str
    caption: str
    frames: np.ndarray
    boxes: np.ndarray
    sound: np.ndarray


def draw_preview(path: Path, examples: Sequence[PreviewClip], fps: float, rate: int) -> None:
    """Draw one row a class to `path` (PNG), atomically; `fps` frames and `rate` samples a second."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    height = ROW_INCHES * len(examples) + HEAD_INCHES
    figure = Figure(figsize=(15.5, height), facecolor="white")
    FigureCanvasAgg(figure)
    edges = {"left": 0.105, "right": 0.995, "top": 1 - HEAD_INCHES / height, "bottom": 0.004}
    grid = figure.add_gridspec(
        len(examples), FRAMES + 1, width_ratios=[1] * FRAMES + [3], wspace=0.03, hspace=0.06, **edges
    )
    figure.text(0.005, 1 - 0.1 / height, "What each class looks and sounds like", size=15, weight="bold", va="top")
    figure.text(0.318, 1 - 0.13 / height, EXPLANATION, size=11.5, va="top", color="#333333")
    for row, example in enumerate(examples):
        shown = np.linspace(0, len(example.frames) - 1, FRAMES).round().astype(int)
        for column, number in enumerate(shown):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(example.frames[number], interpolation="nearest")
            x1, y1, x2, y2 = example.boxes[number] - 0.5
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="black", linewidth=2.6))
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=BOX, linewidth=1.4))
            axes.set_axis_off()
            if row == 0:
                axes.set_title(f"{number / fps:.2f} s", size=10, color=NOTE, pad=3)
            if column == 0:
                shape, _, motion = example.name.partition("-")
                axes.text(-0.12, 0.68, f"{shape}\n{motion}", transform=axes.transAxes, ha="right", va="center", size=13)
                note = "\n".join(wrap(example.caption, 20))
                axes.text(-0.12, 0.2, note, transform=axes.transAxes, ha="right", va="center", size=9.5, color=NOTE)
            if column == FRAMES - 1:
                middles = (example.boxes[:, :2] + example.boxes[:, 2:] - 1) / 2
                axes.plot(*middles.T, color="black", linewidth=2.2)
                axes.plot(*middles.T, color=BOX, linewidth=1.0, marker=".", markersize=4)
        cells = grid[row, FRAMES].subgridspec(2, 1, height_ratios=(2.4, 1), hspace=0.0)
        axes = _draw_sound(figure, cells, example, rate)
        if row == 0:
            seconds = len(example.sound) / rate
            title = f"sound over {seconds:g} s: {LOWEST_HZ:g} Hz to {rate // 2000} kHz (log), waveform"
            axes.set_title(title, size=10, color=NOTE, pad=3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def spectrogram(sound: np.ndarray, window: int = WINDOW, hop: int = HOP) -> np.ndarray:
    """Return power in decibels, float [window / 2 + 1, columns], of a Hann-windowed short-time Fourier transform."""
    padded = np.pad(sound, (window // 2, window))
    starts = np.arange(0, len(sound), hop)
    pieces = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    decibels: np.ndarray = 20 * np.log10(np.abs(np.fft.rfft(pieces, axis=1)).T + 1e-5)
    return decibels


def _draw_sound(figure: Figure, cells: GridSpecBase, example: PreviewClip, rate: int) -> Axes:
    """Draw the spectrogram (logarithmic frequency) above the waveform. Return the spectrogram's axes."""
    power = spectrogram(example.sound)
    frequency = np.fft.rfftfreq(WINDOW, 1 / rate)
    rows = np.geomspace(LOWEST_HZ, rate / 2, 120)
    logarithmic = np.stack([np.interp(rows, frequency, column) for column in power.T], axis=1)
    axes = figure.add_subplot(cells[0])
    top = logarithmic.max()
    axes.imshow(logarithmic, origin="lower", aspect="auto", cmap="magma", vmin=top - RANGE_DB, vmax=top)
    axes.set_axis_off()
    below = figure.add_subplot(cells[1])
    pieces = example.sound[: len(example.sound) // 400 * 400].reshape(400, -1)
    below.fill_between(np.arange(400), pieces.min(axis=1), pieces.max(axis=1), color="#30507a", linewidth=0)
    below.set_xlim(0, 399)
    below.set_axis_off()
    return axes
