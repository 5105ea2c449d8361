"""Which tokens a mask keeps: the tube beside the localization-guided mask (the paper's Figure 3)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from asgmcli.localize.overlay import overlay
from asgmcli.report.style import HEAT, INK, MUTED, new_figure, save_figure

Frame = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

HIDDEN = (38, 42, 54)
"""Colour of a token that is not kept."""
KEPT = (246, 243, 235)
BOX = "#ffd21f"
BOXED = "ae"
"""Panels on which true sources are boxed: the frame and the map."""


@dataclass(frozen=True)
class MaskPanels:
    """The eight pictures of one frame. Masks are bool [rows, columns] of tokens; `*_mean` is the share of draws, 0..1.

    `frame` is uint8 [H,W,3] with H and W multiples of rows and columns, `heatmap` [h,w] in [0, 1]. `boxes` float [n,4]
    are true sources, x1, y1, x2, y2 as fractions of the frame, drawn where the frame and the map are.
    """

    frame: Frame
    tube: Mask
    tube_mean: Floats
    heatmap: Floats
    guided: Mask
    guided_mean: Floats
    boxes: NDArray[np.float64] | None = None


def masked(frame: Frame, mask: Mask) -> Frame:
    """Paint over the tokens of frame [H,W,3] that the mask [rows, columns] drops."""
    keep = spread(mask, frame.shape)
    return np.where(keep[..., None], frame, np.asarray(HIDDEN, np.uint8))


def spread(mask: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Spread a token mask [rows, columns] over the pixels [H,W] of a frame of `shape`; each pixel has one token."""
    rows = np.arange(shape[0]) * mask.shape[0] // shape[0]
    columns = np.arange(shape[1]) * mask.shape[1] // shape[1]
    pixels: NDArray[np.generic] = mask[rows[:, None], columns[None]]
    return pixels


def mask_panels(
    panels: Sequence[MaskPanels],
    path: str | os.PathLike[str],
    *,
    draws: int = 255,
    keep: float,
    localizer: str = "",
    times: Sequence[float] = (),
    title: str = "",
) -> Path:
    """Draw panels (a) to (h) of one frame large, or of several frames, one a row.

    Args:
        panels: one entry a frame.
        path: .png, .svg or .pdf.
        draws: how many draws the means stand for.
        keep: share of tokens kept.
        localizer: what made the heat map.
        times: seconds of the frames.
        title: stands above.

    Raises:
        UsageError: the suffix.
    """
    if len(panels) == 1:
        return save_figure(path, lambda: draw_one(panels[0], draws, keep, localizer, title))
    return save_figure(path, lambda: _draw_rows(panels, draws, localizer, times, title))


def draw_one(panels: MaskPanels, draws: int, keep: float, localizer: str, title: str) -> Figure:
    """Draw panels (a) to (h) of one frame; see `mask_panels`."""
    tall = panels.frame.shape[0] / panels.frame.shape[1]
    figure = new_figure(height=2 * (2.0 * tall + 0.3) + (0.5 if title else 0.2))
    axes = figure.subplots(2, 4)
    percent = f"{100 * keep:.0f}%"
    names = [
        "frame",
        f"tube mask, {percent} kept",
        "frame, tube mask",
        f"mean of {draws} tube draws",
        f"heat map ({localizer})" if localizer else "heat map",
        f"guided mask, {percent} kept",
        "frame, guided mask",
        f"mean of {draws} guided draws",
    ]
    for letter, name, one, picture in zip("abcdefgh", names, axes.flat, _pictures(panels), strict=True):
        _show(one, picture, panels.boxes if letter in BOXED else None)
        one.set_title(f"({letter}) {name}", fontsize=9.5, fontweight="normal", pad=4)
    _bar(figure, list(axes.flat))
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def _draw_rows(panels: Sequence[MaskPanels], draws: int, localizer: str, times: Sequence[float], title: str) -> Figure:
    tall = panels[0].frame.shape[0] / panels[0].frame.shape[1]
    figure = new_figure(height=len(panels) * (1.02 * tall + 0.03) + (0.95 if title else 0.65), width=9.6)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(len(panels), 8, squeeze=False)
    names = [
        "frame",
        "tube mask",
        "frame,\ntube mask",
        f"mean of {draws}\ntube draws",
        f"heat map\n({localizer})" if localizer else "heat map",
        "guided mask",
        "frame,\nguided mask",
        f"mean of {draws}\nguided draws",
    ]
    for row, one in enumerate(panels):
        for letter, place, picture in zip("abcdefgh", axes[row], _pictures(one), strict=True):
            _show(place, picture, one.boxes if letter in BOXED else None)
        if len(times):
            _label(axes[row, 0], f"{times[row]:.1f} s")
    for letter, name, top in zip("abcdefgh", names, axes[0], strict=True):
        top.set_title(f"({letter}) {name}", fontsize=8, fontweight="normal", pad=4)
    _bar(figure, list(axes.flat))
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def _pictures(panels: MaskPanels) -> list[NDArray[np.generic]]:
    """Return panels a to h: uint8 [H,W,3] pictures, or [rows, columns] amounts in 0..1."""
    return [
        panels.frame,
        mask_picture(panels.tube, panels.frame.shape),
        masked(panels.frame, panels.tube),
        panels.tube_mean,
        overlay(panels.frame, panels.heatmap),
        mask_picture(panels.guided, panels.frame.shape),
        masked(panels.frame, panels.guided),
        panels.guided_mean,
    ]


def mask_picture(mask: Mask, shape: tuple[int, ...]) -> Frame:
    """Draw the mask as a picture [H,W,3] of a frame's `shape`: kept tokens light, the others dark."""
    blank = np.broadcast_to(np.asarray(KEPT, np.uint8), shape)
    return masked(blank, mask)


def _show(axes: Axes, picture: NDArray[np.generic], boxes: NDArray[np.float64] | None = None) -> None:
    for x1, y1, x2, y2 in () if boxes is None else boxes * np.tile(picture.shape[1::-1], 2) - 0.5:
        for width, colour in ((3.2, INK), (1.4, BOX)):
            box = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, linewidth=width, edgecolor=colour)
            axes.add_patch(box)
    if picture.ndim == 3:
        axes.imshow(picture, interpolation="nearest")
    else:
        axes.imshow(picture, cmap=HEAT, vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, fontsize=8, color=MUTED, rotation=0, ha="right", va="center", labelpad=4)


def _bar(figure: Figure, axes: list[Axes]) -> None:
    bar = figure.colorbar(ScalarMappable(cmap=HEAT), ax=axes, shrink=0.75, aspect=30, pad=0.012)
    bar.set_label("heat map (e), share of draws that keep a token (d, h)", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
