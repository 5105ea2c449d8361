"""Training curves: one small panel a quantity."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asgmcli.errors import DataError
from asgmcli.report.style import BLUE, MUTED, new_figure, save_figure

AXES = ("step", "epoch")
"""Keys that say when a row was written, the first one present is the horizontal axis."""
SMOOTHED_FROM = 60
"""Points from which a running mean is drawn over the single values."""


def training_curves(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    title: str = "",
) -> Path:
    """Draw every number of a run's metrics.jsonl against the step, one panel a key.

    Args:
        rows: one mapping a line of metrics.jsonl; a key may be missing from a row, text is left out.
        path: .png, .svg or .pdf.
        title: stands above all.

    Raises:
        DataError: the rows hold no number to draw. UsageError: the suffix.
    """
    axis = next((key for key in AXES if any(key in row for row in rows)), None)
    series = {}
    for key in _numeric_keys(rows):
        points = [
            (float(row.get(axis, index)) if axis else float(index), float(row[key]))
            for index, row in enumerate(rows)
            if _is_number(row.get(key))
        ]
        if points:
            series[key] = np.asarray(points)
    if not series:
        raise DataError(f"nothing to draw into {path}: the metrics hold no number yet. Train first.")
    return save_figure(path, lambda: _draw(series, axis or "row", title))


def _numeric_keys(rows: Sequence[Mapping[str, object]]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if _is_number(value))
    return [key for key in keys if key not in AXES]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the mean over the `width` values around each of values [n], fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - width // 2, 0), np.minimum(index + width // 2 + 1, len(values))
    result: NDArray[np.float64] = (total[high] - total[low]) / (high - low)
    return result


def _draw(series: Mapping[str, NDArray[np.float64]], axis: str, title: str) -> Figure:
    columns = min(3, len(series))
    lines = math.ceil(len(series) / columns)
    figure = new_figure(height=1.9 * lines + (0.4 if title else 0.1))
    panels = figure.subplots(lines, columns, squeeze=False)
    for panel, (key, points) in zip(panels.flat, series.items(), strict=False):
        _panel(panel, key, points)
    for panel in panels.flat[len(series) :]:
        panel.axis("off")
    for column in range(columns):
        lowest = (len(series) - 1 - column) // columns
        panels[lowest, column].set_xlabel(axis)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    return figure


def _panel(panel: Axes, key: str, points: NDArray[np.float64]) -> None:
    when, values = points[:, 0], points[:, 1]
    panel.set_title(key, fontsize=10)
    panel.grid(axis="y")
    panel.set_axisbelow(True)
    panel.locator_params(axis="both", nbins=5)
    if len(values) >= SMOOTHED_FROM:
        panel.plot(when, values, color=BLUE, alpha=0.25, linewidth=0.7)
        values = running_mean(values, max(5, len(values) // 30))
        panel.plot(when, values, color=BLUE, linewidth=1.6)
    else:
        panel.plot(when, values, color=BLUE, linewidth=1.6, marker="o", markersize=3)
    panel.annotate(
        f"{points[-1, 1]:.3g}", (1, 1), xycoords="axes fraction", ha="right", va="bottom", fontsize=9, color=MUTED
    )
