"""Rows of an experiment beside each other: what was measured, how sure it is, what the paper printed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asgmcli.errors import DataError
from asgmcli.report.style import ACCENT, BLUE, INK, MUTED, new_figure, save_figure, title_over

TITLE_LETTERS = 50
"""Letters of a title's line that stand over the axes, beside the rows' names."""


@dataclass(frozen=True)
class MeasuredRow:
    """One row of a comparison: its mean, the interval around it, each run's value, the paper's number if there is one.

    `low` and `high` bound the interval, None where one run gives none. `main` sets the row apart.
    """

    name: str
    mean: float
    low: float | None = None
    high: float | None = None
    values: Sequence[float] = ()
    paper: float | None = None
    main: bool = False


def row_comparison(
    rows: Sequence[MeasuredRow],
    path: str | os.PathLike[str],
    *,
    label: str = "top-1, percent",
    title: str = "",
    bars: bool = False,
) -> Path:
    """Draw rows from top to bottom: mean with interval, single runs as faint dots, the paper's number as a diamond.

    Args:
        rows: in the order in which they are read.
        path: .png, .svg or .pdf.
        label: what is measured, and in which unit; differences may be drawn as well (zero is then marked).
        title: stands above.
        bars: draw a bar from zero to each mean.

    Raises:
        DataError: there is no row. UsageError: the suffix.
    """
    if not rows:
        raise DataError(f"nothing to draw into {path}: there is no measured row. Train first.")
    return save_figure(path, lambda: _draw(rows, label, title, bars))


def _draw(rows: Sequence[MeasuredRow], label: str, title: str, bars: bool) -> Figure:
    figure = new_figure(height=0.42 * len(rows) + 1.5)
    axes = figure.add_subplot()
    for line, row in enumerate(rows):
        _draw_row(axes, line, row)
        if bars:
            axes.barh(line, row.mean, height=0.62, color=_pale(ACCENT if row.main else BLUE))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=10)
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.main else "normal")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.margins(x=0.06)
    low, high = axes.get_xlim()
    if low < 0 < high:
        axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_xlabel(label)
    if title:
        title_over(axes, title, TITLE_LETTERS)
    _write_means(axes, rows)
    figure.legend(handles=_legend(rows), loc="outside lower left", ncols=3, handlelength=1.6)
    return figure


def _draw_row(axes: Axes, line: int, row: MeasuredRow) -> None:
    color = ACCENT if row.main else BLUE
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [line, line], color=color, linewidth=2.2, solid_capstyle="butt")
    # Runs lie a little apart, so that equal values are seen as several.
    spread = np.linspace(-0.16, 0.16, len(row.values)) if len(row.values) > 1 else np.zeros(len(row.values))
    axes.plot(row.values, line + spread, "o", color=color, alpha=0.35, markersize=4.5, markeredgewidth=0, clip_on=False)
    axes.plot([row.mean], [line], "o", color=color, markersize=8, markeredgecolor="white", zorder=3, clip_on=False)
    if row.paper is not None:
        axes.plot([row.paper], [line], "D", color="none", markeredgecolor=INK, markersize=6.5, zorder=4, clip_on=False)


def _pale(color: str) -> tuple[float, float, float]:
    """Return `color` as three parts in 0..1, most of it white; grid lines do not shine through it."""
    red, green, blue = to_rgb(color)
    return 0.7 + 0.3 * red, 0.7 + 0.3 * green, 0.7 + 0.3 * blue


def _write_means(axes: Axes, rows: Sequence[MeasuredRow]) -> None:
    """Write each mean as a number in a column at the right edge, where it covers nothing."""
    for line, row in enumerate(rows):
        weight = "bold" if row.main else "normal"
        axes.annotate(
            f"{row.mean:.1f}",
            (1.0, line),
            xytext=(8, 0),
            textcoords="offset points",
            xycoords=("axes fraction", "data"),
            va="center",
            fontweight=weight,
        )


def _legend(rows: Sequence[MeasuredRow]) -> list[Line2D]:
    handles = [Line2D([], [], color=BLUE, marker="o", linewidth=0, markersize=7, label="mean")]
    if any(row.low is not None for row in rows):
        handles[0] = Line2D(
            [], [], color=BLUE, marker="o", linewidth=2.2, markersize=7, label="mean and its 95% interval"
        )
    if any(len(row.values) for row in rows):
        handles.append(Line2D([], [], color=BLUE, marker="o", alpha=0.35, linewidth=0, markersize=5, label="one run"))
    if any(row.paper is not None for row in rows):
        handles.append(
            Line2D([], [], color="white", markeredgecolor=INK, marker="D", linewidth=0, markersize=6, label="paper")
        )
    return handles
