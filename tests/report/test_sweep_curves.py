"""A figure over a swept key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.errors import DataError


def test_a_line_stops_where_nothing_is_measured(tmp_path: Path) -> None:
    from asgmcli.report.sweep_curves import Line, Point, _draw, sweep_curves

    ours = Line("ours", [Point(8, 3.0), Point(1, 1.0, 0.5, 1.5, (0.8, 1.2)), Point(4), Point(2, 2.0, paper=9.0)], True)
    axes = _draw([ours], "frames", "top-1", "", "", "log").axes[0]
    places, means = axes.lines[0].get_data()
    assert list(places) == [1, 2, 4, 8]
    assert np.allclose(np.asarray(means, float), [1, 2, np.nan, 3], equal_nan=True)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "4", "8"]
    drawn = [tuple(np.asarray(line.get_ydata(), float)) for line in axes.lines[1:]]
    assert drawn == [(0.5, 1.5), (0.8, 1.2), (9.0,)]
    with pytest.raises(DataError, match="no point is measured"):
        sweep_curves([Line("ours", [Point(1, paper=2.0)])], tmp_path / "none.png", axis="frames")
