"""Rows beside each other as a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import rcParams
from PIL import Image

from asgmcli.errors import DataError
from asgmcli.report.comparison import MeasuredRow, _draw, row_comparison


@pytest.mark.pictures
@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_comparison_in_every_format_and_the_same_every_time(tmp_path: Path, suffix: str, start: bytes) -> None:
    rows = [
        MeasuredRow("tube", 77.4, 76.0, 78.8, values=[77.0, 77.8], paper=75.0),
        MeasuredRow("guided", 78.6, values=[78.6], main=True),
    ]
    before = dict(rcParams)
    first = row_comparison(rows, tmp_path / f"a.{suffix}").read_bytes()
    assert first.startswith(start)
    assert first == row_comparison(rows, tmp_path / f"b.{suffix}").read_bytes()
    assert dict(rcParams) == before


@pytest.mark.pictures
def test_a_long_title_widens_no_comparison(tmp_path: Path) -> None:
    rows = [MeasuredRow("ASGM-Former (guided mask, contrastive)", 47.3, 19.5, 75.2, [48.4, 35.6, 58.0], main=True)]
    short = row_comparison(rows, tmp_path / "short.png", title="Table 2")
    long = row_comparison(rows, tmp_path / "long.png", title=10 * "what the parts add ")
    assert Image.open(long).width == Image.open(short).width


def test_comparison_without_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no measured row"):
        row_comparison([], tmp_path / "none.png")


def test_bars_reach_from_zero_to_the_means() -> None:
    rows = [MeasuredRow("apart", 72.6, paper=72.65), MeasuredRow("together", 72.9, main=True)]
    (axes,) = _draw(rows, "miou, percent", "", True).axes
    assert [(patch.get_x(), patch.get_width()) for patch in axes.patches] == [(0, 72.6), (0, 72.9)]  # type: ignore[attr-defined]
    assert not _draw(rows, "", "", False).axes[0].patches


def test_bars_hide_the_grid_and_a_dot_at_zero_is_whole() -> None:
    (axes,) = _draw([MeasuredRow("nothing", 0.0, values=[0.0]), MeasuredRow("some", 30.0)], "", "", True).axes
    assert [patch.get_facecolor()[3] for patch in axes.patches] == [1.0, 1.0]
    assert axes.xaxis.get_zorder() < min(patch.get_zorder() for patch in axes.patches)  # the grid's is the axis's
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert dots
    assert not any(line.get_clip_on() for line in dots)
