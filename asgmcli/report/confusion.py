"""The confusion matrix of a classifier as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from asgmcli.report.style import AMOUNT, INK, MUTED, WIDTH, new_figure, save_figure

MOST_NUMBERS = 16
"""Classes up to which a cell's percentage is written into it."""
MOST_NAMES = 60
"""Classes up to which every class is named on both axes."""
LISTED = 24
"""Confusions listed beside a matrix too large to name its classes."""


def confusion_matrix(
    matrix: ArrayLike,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    title: str = "Confusion matrix",
    unit: str = "clips",
) -> Path:
    """Draw how often each true class was taken for each other, in percent of the true class.

    Args:
        matrix: counts [K,K], rows the true class, columns the predicted one.
        classes: K names.
        path: .png, .svg or .pdf.
        title: stands above, with the share of all clips on the diagonal.
        unit: what is counted.

    Raises:
        UsageError: the suffix. ValueError: the shapes do not agree.
    """
    counts = np.asarray(matrix, dtype=float)
    if counts.shape != (len(classes), len(classes)) or not len(classes):
        raise ValueError(f"a matrix of {counts.shape} for {len(classes)} classes")
    return save_figure(path, lambda: _draw(counts, classes, title, unit))


def confusion_pair(
    tables: Mapping[str, ArrayLike], classes: Sequence[str], path: str | os.PathLike[str], unit: str = "segments"
) -> Path:
    """Draw confusion matrices of the same classes side by side, in percent of the true class.

    Args:
        tables: counts [K,K] by title, rows the true class.
        classes: K names.
        path: .png, .svg or .pdf.
        unit: what is counted.

    Raises:
        UsageError: the suffix.
    """
    counts = {title: np.asarray(table, dtype=float) for title, table in tables.items()}
    return save_figure(path, lambda: _draw_pair(counts, classes, unit))


def _draw_pair(tables: Mapping[str, NDArray[np.float64]], classes: Sequence[str], unit: str) -> Figure:
    size = len(classes)
    small = 8 if size <= MOST_NUMBERS else 6
    figure = new_figure(height=min(max(5.0, 0.15 * size + 2.2), WIDTH), width=WIDTH + 2)
    panels = np.atleast_1d(figure.subplots(1, len(tables), sharey=True))
    for axes, (title, counts) in zip(panels, tables.items(), strict=True):
        image = axes.imshow(_percent(counts), cmap=AMOUNT, vmin=0, vmax=100, aspect="equal")
        right = 100 * np.trace(counts) / max(counts.sum(), 1)
        axes.set_title(f"{title}: {right:.1f}% of {counts.sum():.0f} {unit} right", fontsize=10)
        axes.set_xlabel("predicted class")
        axes.set_xticks(range(size), classes, rotation=90, fontsize=small)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    panels[0].set_yticks(range(size), classes, fontsize=small)
    panels[0].set_ylabel("true class")
    bar = figure.colorbar(image, ax=list(panels), shrink=0.7, aspect=28, pad=0.02)
    bar.set_label("percent of the true class")
    bar.outline.set_visible(False)
    return figure


def worst_confusions(counts: NDArray[np.float64], most: int) -> list[tuple[int, int, float]]:
    """Return the `most` largest off-diagonal cells of counts [K,K]: (true, predicted, percent of the true class)."""
    share = _percent(counts)
    np.fill_diagonal(share, 0.0)
    order = np.argsort(-share, axis=None, kind="stable")[:most]
    pairs = [divmod(int(index), len(counts)) for index in order]
    return [(true, predicted, float(share[true, predicted])) for true, predicted in pairs if share[true, predicted] > 0]


def _percent(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    # A class without a clip has an empty row, not a division by zero.
    result: NDArray[np.float64] = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    return result


def _draw(counts: NDArray[np.float64], classes: Sequence[str], title: str, unit: str) -> Figure:
    size, share = len(classes), _percent(counts)
    named = size <= MOST_NAMES
    figure = new_figure(height=min(max(4.2, 0.34 * size + 2.0), WIDTH * 1.05) if named else 6.0)
    axes = figure.add_subplot() if named else figure.subplots(1, 2, width_ratios=(3, 2))[0]
    image = axes.imshow(share, cmap=AMOUNT, vmin=0, vmax=100, aspect="equal")
    axes.set_anchor("N")
    total = counts.sum()
    right = f"{100 * np.trace(counts) / total:.1f}% of {total:.0f} {unit} right" if total else f"no {unit}"
    axes.set_title(f"{title}: {right}")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if named:
        small = 9 if size <= 30 else 6
        axes.set_xticks(range(size), classes, rotation=45 if size <= 30 else 90, fontsize=small)
        if size <= 30:
            for name in axes.get_xticklabels():
                name.set(ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), classes, fontsize=small)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.2 if size <= 30 else 0.4)
        axes.tick_params(which="both", length=0)
    else:
        _list_confusions(figure, counts, classes)
    if size <= MOST_NUMBERS:
        _write_numbers(axes, share)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=28, pad=0.02)
    bar.set_label("percent of the true class")
    bar.outline.set_visible(False)
    return figure


def _write_numbers(axes: Axes, share: NDArray[np.float64]) -> None:
    for true, predicted in np.argwhere(share >= 0.5):
        value = share[true, predicted]
        color = "white" if value > 55 else INK
        axes.text(predicted, true, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8)


def _list_confusions(figure: Figure, counts: NDArray[np.float64], classes: Sequence[str]) -> None:
    axes = figure.axes[1]
    axes.axis("off")
    axes.set_title("most often confused", loc="left")
    for line, (true, predicted, percent) in enumerate(worst_confusions(counts, LISTED)):
        height = 0.97 - line * 0.96 / LISTED
        axes.text(0.12, height, f"{percent:.0f}%", ha="right", va="top", fontsize=8, color=MUTED)
        axes.text(0.16, height, f"{classes[true]} → {classes[predicted]}", va="top", fontsize=8)
