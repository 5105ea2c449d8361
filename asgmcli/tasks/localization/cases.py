"""A picture of the frames whose maps meet their boxes best, in the middle and worst."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asgmcli.localize.overlay import draw_box, overlay
from asgmcli.metrics.localization import median_threshold, normalise_map, resize_map
from asgmcli.report.style import HEAT, MUTED, frame_grid, save_figure

PER_ROW = 5
SIDE = 1.6  # inches of a frame
NAME_CHARACTERS = 24  # of a clip's id below its frame


@dataclass(frozen=True)
class Case:
    """A frame: `place` (clip id, frame), `image` uint8 [3, H, W], `heatmap` [h, w], `boxes` [n, 4] in fractions, and
    the cIoU `value` (0..1) of map and boxes."""

    place: tuple[str, int]
    image: np.ndarray
    heatmap: np.ndarray
    boxes: np.ndarray
    value: float


def choose_cases(values: Sequence[float], count: int = PER_ROW) -> dict[str, list[int]]:
    """Return indices of the best, the median and the worst values, `count` of each, fewer if there are not enough.

    Each row falls from left to right; equal values keep their order.
    """
    order = sorted(range(len(values)), key=lambda index: -values[index])
    count = min(count, len(order) // 3)
    if not count:
        return {"all": order}
    middle = (len(order) - count) // 2
    return {"best": order[:count], "median": order[middle : middle + count], "worst": order[-count:]}


def draw_cases(cases: Mapping[str, Sequence[Case]], summary: str, path: str | os.PathLike[str]) -> Path:
    """Draw a row of frames for each entry: map in colour, its hot half outlined, true boxes in white, cIoU above.

    Args:
        cases: frames by the row's title.
        summary: what the frames were chosen from, for the figure's title.
        path: .png, .svg or .pdf.

    Raises:
        UsageError: the suffix.
    """
    return save_figure(path, lambda: _draw(cases, summary))


def _draw(cases: Mapping[str, Sequence[Case]], summary: str) -> Figure:
    figure, grid = frame_grid(cases, SIDE, 1.2)
    for line, row in zip(grid, cases.values(), strict=True):
        for axes, case in zip(line, row, strict=False):
            _draw_case(axes, case)
    bar = figure.colorbar(ScalarMappable(cmap=HEAT), ax=list(grid.flat), shrink=0.6, aspect=26, pad=0.015)
    bar.set_label("where the sound comes from", fontsize=9)
    bar.set_ticks([0, 0.5, 1])
    bar.outline.set_visible(False)
    figure.suptitle(summary, x=0.01, ha="left", fontweight="bold", fontsize=11)
    figure.legend(
        handles=[
            Line2D([], [], color=MUTED, linewidth=2, label="true box (white)"),
            Line2D(
                [], [], color=MUTED, linewidth=1, linestyle="--", label="hotter half of the map, which cIoU compares"
            ),
        ],
        loc="outside lower left",
        ncols=2,
    )
    return figure


def _draw_case(axes: Axes, case: Case) -> None:
    image = np.ascontiguousarray(case.image.transpose(1, 2, 0))
    heat = normalise_map(case.heatmap)
    axes.imshow(overlay(image, heat.astype(np.float32), alpha=0.6), interpolation="bilinear")
    fine = normalise_map(resize_map(case.heatmap, image.shape[:2]))
    if np.ptp(fine) > 0:
        axes.contour(fine, levels=[median_threshold(fine)], colors="white", linewidths=0.7, linestyles="--", alpha=0.8)
    for box in case.boxes:
        draw_box(axes, box, image.shape)
    axes.set_title(f"cIoU {case.value:.2f}", fontsize=10, pad=3)
    name, frame = case.place
    short = name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"
    axes.set_xlabel(f"{short}, frame {frame}", fontsize=7, color=MUTED, labelpad=2)
