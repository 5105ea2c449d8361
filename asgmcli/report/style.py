"""The style and the file formats of all figures."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asgmcli.errors import UsageError
from asgmcli.files import replacing

# A README column is about 850 pixels wide; figures are drawn twice as fine for dense screens.
WIDTH = 9.0
"""Width of a full figure, inches."""
DPI = 180
SUFFIXES = (".png", ".svg", ".pdf")

INK = "#1f2430"
MUTED = "#6b7280"
RULE = "#d7dae0"
ACCENT = "#c2410c"
BLUE = "#2563a8"
LINES = (BLUE, ACCENT, "#4d7c3a", "#7c4fa0", "#8a6d1d", "#33808a", "#a83b63", "#555b66")
HEAT = "inferno"
"""Heat maps of where the sound is: dark to bright, even in lightness."""
AMOUNT = "Blues"
"""Amounts on white, as in a confusion matrix."""

_STYLE: dict[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "nearest",
    # The same content gives the same file.
    "svg.hashsalt": "asgm",
    "svg.fonttype": "path",
}


@contextmanager
def style() -> Iterator[None]:
    """Apply the project's matplotlib settings for the length of the block."""
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]  # the stubs list every key there is
        yield


def title_over(axes: Axes, title: str, letters: int) -> None:
    """Write `title` over `axes`, in lines of at most `letters`: a longer one would widen the whole picture."""
    axes.set_title(textwrap.fill(title, letters), pad=10)


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of `width` x `height` inches, outside pyplot's global list of figures."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes) -> None:
    """Take ticks and frame from a picture."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def frame_grid(rows: Mapping[str, Sequence[object]], side: float, margin: float) -> tuple[Figure, NDArray[np.object_]]:
    """Return a figure with a line of frames for each of `rows`, its title on the left, and the axes.

    Args:
        rows: frames by the row's title.
        side: of a frame, inches.
        margin: beside the frames, inches.
    """
    columns = max(len(row) for row in rows.values())
    figure = new_figure(height=len(rows) * (side + 0.5) + 0.9, width=max(columns * (side + 0.12) + margin, 5.5))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        bare(axes)
    for first, title in zip(grid[:, 0], rows, strict=True):
        first.set_ylabel(title, fontsize=11, fontweight="bold")
    return figure, grid


def check_figure_path(path: str | os.PathLike[str]) -> Path:
    """Return `path` if a figure can be saved under that name.

    Raises:
        UsageError: the suffix is none of .png, .svg, .pdf.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        found = f"the suffix {target.suffix!r}" if target.suffix else "no suffix"
        raise UsageError(f"{target} has {found}; a figure is saved as {', '.join(SUFFIXES)}. Rename the output.")
    return target


def save_figure(path: str | os.PathLike[str], draw: Callable[[], Figure]) -> Path:
    """Draw with the project's style and save as PNG, SVG or PDF by the suffix, atomically.

    Raises:
        UsageError: another suffix. DataError: the place cannot be written to.
    """
    target = check_figure_path(path)
    with replacing(target) as temporary:
        render(draw, temporary, target.suffix.lower())
    return target


def render(draw: Callable[[], Figure], path: Path, suffix: str) -> None:
    """Draw with the project's style and write a file of the kind that `suffix` says."""
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
    with style():
        draw().savefig(path, dpi=DPI, format=suffix[1:], metadata=metadata, bbox_inches="tight", pad_inches=0.1)
