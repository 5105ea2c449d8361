"""A picture of the videos whose masks meet their truth best, in the middle and worst."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from asgmcli.report.style import MUTED, bare, frame_grid, new_figure, save_figure

if TYPE_CHECKING:
    from asgmcli.tasks.segmentation.drawing import Line

PER_ROW = 5
SIDE = 1.6  # inches of a frame
NAME_CHARACTERS = 24
_TINT = np.array([230, 80, 20], dtype=np.float32)
_TINT_SHARE = 0.55


@dataclass(frozen=True)
class Case:
    """A video: its id, a frame uint8 [h, w, 3], mask and truth bool [h, w], and the mean IoU of its frames (0..1)."""

    clip: str
    image: np.ndarray
    mask: np.ndarray
    truth: np.ndarray
    value: float


def choose_cases(values: Sequence[float], count: int = PER_ROW) -> dict[str, list[int]]:
    """Return places of the best, the median and the worst values, `count` of each, fewer if there are not enough."""
    order = sorted(range(len(values)), key=lambda place: -values[place])
    count = min(count, len(order) // 3)
    if not count:
        return {"all": order}
    middle = (len(order) - count) // 2
    return {"best": order[:count], "median": order[middle : middle + count], "worst": order[-count:]}


def tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a frame uint8 [h, w, 3] with the mask's pixels in colour."""
    mixed = image + mask[..., None] * _TINT_SHARE * (_TINT - image)
    result: np.ndarray = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return result


def draw_cases(cases: Mapping[str, Sequence[Case]], summary: str, path: str | os.PathLike[str]) -> Path:
    """Draw a row of frames for each entry: the mask in colour, the truth outlined, the video's IoU above.

    Args:
        cases: videos by the row's title.
        summary: what they were chosen from, for the figure's title.
        path: .png, .svg or .pdf.

    Raises:
        UsageError: the suffix.
    """
    return save_figure(path, lambda: _draw(cases, summary))


def draw_lines(lines: Sequence[Line], path: str | os.PathLike[str]) -> Path:
    """Draw a line a video: frame, flow, truth, and a mask a network with its IoU below.

    Args:
        lines: of the same networks.
        path: .png, .svg or .pdf.

    Raises:
        UsageError: the suffix.
    """
    return save_figure(path, lambda: _draw_lines(lines))


def flow_colours(flow: np.ndarray) -> np.ndarray:
    """Return float [S, S, 3]: the flow's direction as hue, its length (against the frame's longest) as strength."""
    from matplotlib.colors import hsv_to_rgb

    x, y = 2 * flow[0] - 1, 2 * flow[1] - 1
    length = np.hypot(x, y)
    hue = (np.arctan2(y, x) / (2 * np.pi)) % 1.0
    colours: np.ndarray = hsv_to_rgb(
        np.stack([hue, length / max(float(length.max()), 0.02), np.ones_like(hue)], axis=-1)
    )
    return colours


def _draw_lines(lines: Sequence[Line]) -> Figure:
    titles = ["frame", "flow", "truth", *(column.title for column in lines[0].columns)]
    figure = new_figure(height=len(lines) * (SIDE + 0.35) + 0.4, width=len(titles) * (SIDE + 0.1) + 0.8)
    grid = figure.subplots(len(lines), len(titles), squeeze=False)
    for axes_line, line in zip(grid, lines, strict=True):
        blank = np.full(line.image.shape, 235, dtype=np.uint8)
        flow = blank if line.flow is None else flow_colours(line.flow)
        pictures = [line.image, flow, np.where(line.truth[..., None], line.image, 0)]
        pictures += [tinted(line.image, column.mask) for column in line.columns]
        for axes, picture in zip(axes_line, pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            bare(axes)
        axes_line[0].set_ylabel(line.clip[:NAME_CHARACTERS], fontsize=8)
        if line.flow is None:
            axes_line[1].set_xlabel("none stored", fontsize=9, color=MUTED)
        for axes, column in zip(axes_line[3:], line.columns, strict=True):
            outline(axes, line.truth)
            axes.set_xlabel(f"IoU {100 * column.iou:.0f}", fontsize=9)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=10)
    return figure


def outline(axes: Axes, mask: np.ndarray, colour: str = "white") -> None:
    """Draw a mask's edge on a shown frame, with a dark line beneath."""
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors="black", linewidths=2.2)
        axes.contour(mask, levels=[0.5], colors=colour, linewidths=1.1)


def _draw(cases: Mapping[str, Sequence[Case]], summary: str) -> Figure:
    figure, grid = frame_grid(cases, SIDE, 0.8)
    for line, row in zip(grid, cases.values(), strict=True):
        for axes, case in zip(line, row, strict=False):
            axes.imshow(tinted(case.image, case.mask), interpolation="nearest")
            outline(axes, case.truth)
            axes.set_title(f"IoU {100 * case.value:.0f}", fontsize=10, pad=3)
            name = case.clip if len(case.clip) <= NAME_CHARACTERS else f"{case.clip[: NAME_CHARACTERS - 1]}…"
            axes.set_xlabel(name, fontsize=7, color=MUTED, labelpad=2)
    figure.suptitle(summary, x=0.01, ha="left", fontweight="bold", fontsize=11)
    handles = [
        Patch(facecolor=(230 / 255, 80 / 255, 20 / 255), alpha=0.8, label="mask of what sounds"),
        Line2D([], [], color=MUTED, linewidth=2, label="truth (white line); IoU: mean over the video's frames"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure
