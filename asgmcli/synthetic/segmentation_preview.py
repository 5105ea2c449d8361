"""A contact sheet of generated clips for segmentation: frames with what sounds outlined, their flow, the sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asgmcli.files import replacing
from asgmcli.media.flow import farneback
from asgmcli.synthetic.segmentation_clips import SECONDS, MadeClip
from asgmcli.synthetic.spectrogram import spectrogram

_OUTLINE = "#ffe600"
_SIDE = 1.35  # inches of a frame


def draw_preview(path: Path, clips: Sequence[MadeClip]) -> None:
    """Draw two lines a clip to `path` (PNG), atomically: frames, then the length of their flow; the sound beside."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SECONDS * _SIDE + 5.2, 2 * _SIDE * len(clips) + 0.6), facecolor="white")
    FigureCanvasAgg(figure)
    edges = {"left": 0.1, "right": 0.99, "top": 1 - 0.5 / figure.get_figheight(), "bottom": 0.01}
    grid = figure.add_gridspec(
        2 * len(clips), SECONDS + 1, width_ratios=[1] * SECONDS + [2.4], wspace=0.04, hspace=0.06, **edges
    )
    for row, clip in enumerate(clips):
        for frame in range(SECONDS):
            axes = figure.add_subplot(grid[2 * row, frame])
            axes.imshow(clip.frames[frame], interpolation="nearest")
            if clip.masks[frame].any():
                axes.contour(clip.masks[frame], levels=[0.5], colors="black", linewidths=2.4)
                axes.contour(clip.masks[frame], levels=[0.5], colors=_OUTLINE, linewidths=1.2)
            axes.set_axis_off()
            if frame == 0:
                names = "\n".join(clip.sounding)
                axes.text(-0.06, 0.5, names, transform=axes.transAxes, ha="right", va="center", size=10)
            below = figure.add_subplot(grid[2 * row + 1, frame])
            flow = farneback(clip.frames[frame], clip.following[frame])
            below.imshow(np.hypot(*flow), vmin=0, vmax=2, cmap="magma", interpolation="nearest")
            below.set_axis_off()
        sound = figure.add_subplot(grid[2 * row : 2 * row + 2, SECONDS])
        power = spectrogram(clip.sound, hop=512)[:160]
        sound.imshow(power, origin="lower", aspect="auto", cmap="magma", vmin=power.max() - 60, vmax=power.max())
        sound.set_axis_off()
    top = 1 - 0.12 / figure.get_figheight()
    figure.text(
        0.01, top, "What sounds is outlined; below each frame how far its pixels move; right: the sound", va="top"
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, metadata={"Software": None}, format="png")
