"""Two clips mixed under a localization-guided mask: picture and sound (the paper's Figure 2)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asgmcli.localize.overlay import overlay
from asgmcli.report.style import INK, WIDTH, bare, new_figure, save_figure
from asgmcli.tasks.masks.masks_figure import mask_picture, spread

Frame = NDArray[np.uint8]
Floats = NDArray[np.float32]

MEL = "magma"
"""Colours of a log-mel filter bank, dark where it is quiet."""


@dataclass(frozen=True)
class MixPanels:
    """The panels of a mixture. T frames each; λ is A's share of the tokens.

    `a`, `b`, `mixed`: uint8 [T,H,W,3]; `heatmap` of A [T,h,w] in [0, 1]; `mask` bool [T,rows,columns], true keeps A;
    `mel_a`, `mel_b`, `mel_mixed`: log-mel filter banks [L,M] over `seconds`.
    """

    a: Frame
    b: Frame
    mixed: Frame
    heatmap: Floats
    mask: NDArray[np.bool_]
    mel_a: Floats
    mel_b: Floats
    mel_mixed: Floats
    share: float
    seconds: float


def mix_frames(a: Frame, b: Frame, mask: NDArray[np.bool_]) -> Frame:
    """Return A's pixels [H,W,3] where the token mask [rows, columns] is true, B's elsewhere."""
    return np.where(spread(mask, a.shape)[..., None], a, b)


def mix_panels(panels: MixPanels, path: str | os.PathLike[str], *, title: str = "", names: tuple[str, str]) -> Path:
    """Draw both clips, A's map, the mask, the mixed frames, and below the sound of A, of B and mixed.

    Args:
        panels: what is shown.
        path: .png, .svg or .pdf.
        title: stands above.
        names: of A and B.

    Raises:
        UsageError: the suffix.
    """
    return save_figure(path, lambda: _draw(panels, title, names))


def _draw(panels: MixPanels, title: str, names: tuple[str, str]) -> Figure:
    frames, height, width = panels.a.shape[:3]
    shape = panels.a.shape[1:]
    rows: list[tuple[str, list[Frame]]] = [
        ("clip A", list(panels.a)),
        ("A's heat map", [overlay(f, h) for f, h in zip(panels.a, panels.heatmap, strict=True)]),
        (f"mask\n({100 * panels.share:.0f}% A)", [mask_picture(mask, shape) for mask in panels.mask]),
        ("clip B", list(panels.b)),
        ("mixed", list(panels.mixed)),
    ]
    cell = (WIDTH - 0.8) / max(frames, 4)
    picture_height = 5 * (cell * height / width + 0.03)
    figure = new_figure(height=picture_height + 2.3 + (0.4 if title else 0.0))
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)  # type: ignore[union-attr, call-arg]
    parts = figure.add_gridspec(2, 1, height_ratios=(picture_height, 2.2))
    above, below = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    grid = above.subplots(5, frames, squeeze=False)
    for line, (name, pictures) in enumerate(rows):
        for axes, picture in zip(grid[line], pictures, strict=True):
            axes.imshow(picture)
            bare(axes)
        grid[line, 0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6, fontsize=9)
    _draw_sound(below.subplots(1, 3, sharey=True), panels, names)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def _draw_sound(all_axes: NDArray[np.object_], panels: MixPanels, names: tuple[str, str]) -> None:
    mels = (panels.mel_a, panels.mel_b, panels.mel_mixed)
    low = min(float(np.percentile(mel, 2)) for mel in mels)
    high = max(float(mel.max()) for mel in mels)
    share = panels.share
    titles = (f"A: {names[0]}", f"B: {names[1]}", f"mixed: {share:.2f} A + {1 - share:.2f} B")
    for axes, mel, name in zip(all_axes, mels, titles, strict=True):
        extent = (0.0, panels.seconds, 0.0, float(mel.shape[1]))
        image = axes.imshow(mel.T, origin="lower", aspect="auto", extent=extent, cmap=MEL, vmin=low, vmax=high)
        axes.set_title(name, fontsize=9, fontweight="normal", color=INK)
        axes.set_xlabel("time, s", fontsize=9)
    all_axes[0].set_ylabel("mel bin", fontsize=9)
    bar = all_axes[0].figure.colorbar(image, ax=list(all_axes), shrink=0.9, aspect=18, pad=0.01)
    bar.set_label("log energy", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
