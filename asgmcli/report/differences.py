"""Figures of gains over a reference row, with intervals: a line a row, or curves over a setting."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asgmcli.errors import DataError
from asgmcli.report.style import ACCENT, BLUE, LINES, MUTED, new_figure, save_figure

SHIFT = 0.012
"""Of the axis' length: how far curves stand beside each other, so that their intervals are seen."""


@dataclass(frozen=True)
class Interval:
    """A mean difference and its interval (None with one seed), at `place` on a curve's axis; `main` sets it apart."""

    mean: float
    low: float | None = None
    high: float | None = None
    place: float | None = None
    main: bool = False


@dataclass(frozen=True)
class Panel:
    """One measure: by row or line, its differences."""

    title: str
    lines: Mapping[str, Sequence[Interval]]


def difference_intervals(panels: Sequence[Panel], path: str | os.PathLike[str], *, label: str, title: str = "") -> Path:
    """Draw intervals in rows from top to bottom, one panel a measure, with zero (no difference) marked; return the
    file.

    Args:
        panels: each with one interval a row.
        path: .png, .svg or .pdf.
        label: what is shown, with its unit.
        title: above the figure.

    Raises:
        DataError: there is no row.
        UsageError: the suffix.
    """
    _refuse_nothing(panels, path)
    return save_figure(path, lambda: _draw_intervals(panels, label, title))


def difference_curves(
    panels: Sequence[Panel], path: str | os.PathLike[str], *, label: str, axis: str, title: str = ""
) -> Path:
    """Draw a curve a line over each interval's place, one panel a measure, with zero (no difference) marked.

    Args:
        panels: each with intervals that have a place.
        path: .png, .svg or .pdf.
        label: what is shown, with its unit.
        axis: name of the places.
        title: above the figure.

    Raises:
        DataError: there is no line.
        UsageError: the suffix.
    """
    _refuse_nothing(panels, path)
    return save_figure(path, lambda: _draw_curves(panels, label, title, axis))


def _refuse_nothing(panels: Sequence[Panel], path: str | os.PathLike[str]) -> None:
    if not any(panel.lines for panel in panels):
        raise DataError(f"nothing to draw into {path}: no two rows have a seed in common. Train more.")


def _draw_intervals(panels: Sequence[Panel], label: str, title: str) -> Figure:
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    figure = new_figure(height=0.36 * len(names) + 1.4)
    many = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, panel in zip(many, panels, strict=True):
        axes.set_title(panel.title)
        axes.axvline(0, color=MUTED, linewidth=1)
        for name, intervals in panel.lines.items():
            _draw_interval(axes, names.index(name), intervals[0])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)), names, fontsize=10)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    figure.supxlabel(label, fontsize=10)
    _title_above(figure, title)
    return figure


def _draw_interval(axes: Axes, line: int, interval: Interval) -> None:
    color = ACCENT if interval.main else BLUE
    if interval.low is not None and interval.high is not None:
        axes.plot([interval.low, interval.high], [line, line], color=color, linewidth=2.2, solid_capstyle="butt")
    axes.plot([interval.mean], [line], "o", color=color, markersize=8, markeredgecolor="white", zorder=3)
    where = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8.5}
    axes.annotate(f"{interval.mean:+.1f}", (interval.mean, line), **where)  # type: ignore[arg-type]


def _draw_curves(panels: Sequence[Panel], label: str, title: str, axis: str) -> Figure:
    figure = new_figure(height=3.6)
    many = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    every = [one.place for panel in panels for line in panel.lines.values() for one in line if one.place is not None]
    step = SHIFT * ((max(every) - min(every)) or 1)
    for axes, panel in zip(many, panels, strict=True):
        axes.set_title(panel.title)
        axes.axhline(0, color=MUTED, linewidth=1)
        for name, intervals in panel.lines.items():
            index = names.index(name)
            _draw_curve(axes, name, intervals, LINES[index % len(LINES)], step * (index - (len(names) - 1) / 2))
        axes.set_xticks(sorted(set(every)))
        axes.set_xlabel(axis)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    many[0].set_ylabel(label)
    figure.legend(*many[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    _title_above(figure, title)
    return figure


def _draw_curve(axes: Axes, name: str, intervals: Sequence[Interval], color: str, shift: float) -> None:
    placed = sorted((one.place, one) for one in intervals if one.place is not None)
    places = [place + shift for place, _ in placed]
    axes.plot(places, [one.mean for _, one in placed], "o-", color=color, label=name, linewidth=1.6, markersize=5)
    for place, (_, one) in zip(places, placed, strict=True):
        if one.low is not None and one.high is not None:
            axes.plot([place, place], [one.low, one.high], color=color, linewidth=1.4, solid_capstyle="butt")


def _title_above(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
