"""Figures of a metric over one setting, a line a method: the paper's Figures 4 and 5."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from asgmcli.errors import DataError
from asgmcli.report.style import ACCENT, INK, LINES, MUTED, new_figure, save_figure, title_over

LEAST_SPAN = 5.0
"""Units of what is measured that the vertical axis shows at least: less would make steps of what is chance."""
TITLE_LETTERS = 62
"""Letters of a title's line that stand over the axes."""


@dataclass(frozen=True)
class Point:
    """A place on the axis, its mean, the interval around it, each run's value, and the paper's number.

    `mean` is None if nothing was measured, `low` and `high` if one run gives no interval.
    """

    at: float
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    values: Sequence[float] = ()
    paper: float | None = None


@dataclass(frozen=True)
class Line:
    """One method's points, from left to right; `main` sets it apart."""

    name: str
    points: Sequence[Point]
    main: bool = False


def sweep_curves(
    lines: Sequence[Line],
    path: str | os.PathLike[str],
    *,
    axis: str,
    label: str = "top-1, percent",
    title: str = "",
    note: str = "",
    scale: Literal["linear", "log"] = "linear",
) -> Path:
    """Draw each method's means over the setting, its intervals and runs, and what the paper prints as a diamond.

    A line stops where a point has not been measured. Every setting has its tick, measured or not.

    Args:
        lines: one entry a method.
        path: .png, .svg or .pdf.
        axis: what the setting is, with its unit.
        label: what is measured, with its unit.
        title: stands above.
        note: stands below.
        scale: of the setting; `log` takes base 2.

    Raises:
        DataError: there is nothing to draw. UsageError: the suffix.
    """
    if not any(point.mean is not None for line in lines for point in line.points):
        raise DataError(f"nothing to draw into {path}: no point is measured. Train first.")
    return save_figure(path, lambda: _draw(lines, axis, label, title, note, scale))


def _draw(lines: Sequence[Line], axis: str, label: str, title: str, note: str, scale: str) -> Figure:
    figure = new_figure(height=4.4, width=7.2)
    axes = figure.add_subplot()
    if scale == "log":
        axes.set_xscale("log", base=2)
    others = [color for color in LINES if color != ACCENT]
    for number, line in enumerate(lines):
        _draw_line(axes, line, ACCENT if line.main else others[number % len(others)])
    ticks = sorted({point.at for line in lines for point in line.points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.margins(x=0.06, y=0.12)
    axes.set_xlabel(axis)
    axes.set_ylabel(label)
    low, high = axes.get_ylim()
    if high - low < LEAST_SPAN:
        axes.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)
    if title:
        title_over(axes, title, TITLE_LETTERS)
    figure.legend(handles=_legend(lines, others), loc="outside lower left", ncols=2, handlelength=1.8)
    if note:
        figure.supxlabel(note, x=0.01, ha="left", fontsize=9, color=MUTED)
    return figure


def _draw_line(axes: Axes, line: Line, color: str) -> None:
    points = sorted(line.points, key=lambda point: point.at)
    places = [point.at for point in points]
    means = [math.nan if point.mean is None else point.mean for point in points]
    width = 2.4 if line.main else 1.8
    axes.plot(places, means, color=color, linewidth=width, marker="o", markersize=6, markeredgecolor="white", zorder=3)
    for point in points:
        if point.low is not None and point.high is not None:
            axes.plot([point.at] * 2, [point.low, point.high], color=color, linewidth=1.6, alpha=0.7)
        if len(point.values) > 1:
            axes.plot([point.at] * len(point.values), point.values, "o", color=color, alpha=0.35, markersize=4)
        if point.paper is not None:
            axes.plot([point.at], [point.paper], "D", color="none", markeredgecolor=INK, markersize=7, zorder=4)
            axes.annotate(
                f"{point.paper:g}", (point.at, point.paper), xytext=(7, 3), textcoords="offset points", fontsize=9
            )


def _legend(lines: Sequence[Line], others: Sequence[str]) -> list[Line2D]:
    handles = []
    for number, line in enumerate(lines):
        color = ACCENT if line.main else others[number % len(others)]
        handles.append(Line2D([], [], color=color, marker="o", linewidth=2, markersize=6, label=line.name))
    points = [point for line in lines for point in line.points]
    if any(point.low is not None for point in points):
        handles.append(Line2D([], [], color=MUTED, linewidth=1.6, label="95% interval of the mean"))
    if any(len(point.values) > 1 for point in points):
        handles.append(Line2D([], [], color=MUTED, marker="o", alpha=0.5, linewidth=0, markersize=4, label="one run"))
    if any(point.paper is not None for point in points):
        handles.append(
            Line2D([], [], color="white", markeredgecolor=INK, marker="D", linewidth=0, markersize=6, label="paper")
        )
    return handles
