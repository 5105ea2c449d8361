"""A run's curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.errors import DataError
from asgmcli.report.curves import running_mean, training_curves


def test_running_mean_against_a_slow_reference() -> None:
    values = np.random.default_rng(0).normal(size=31)
    slow = [values[max(0, i - 3) : i + 4].mean() for i in range(31)]
    assert np.allclose(running_mean(values, 7), slow)


@pytest.mark.pictures
def test_training_curves_of_mixed_rows(tmp_path: Path) -> None:
    rows = [{"step": i, "loss": 1 / (i + 1), "kind": "train", "used": float("nan")} for i in range(80)]
    rows.append({"step": 80, "top1": 40.0})
    assert training_curves(rows, tmp_path / "curves.png").stat().st_size > 5000
    with pytest.raises(DataError, match="no number"):
        training_curves([{"kind": "train"}], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_steps_of_chance_do_not_fill_the_axis_and_a_long_title_breaks() -> None:
    from asgmcli.report.sweep_curves import Line, Point, _draw

    title = "Figure 5, averaging the localization maps of neighbouring frames (1 label a class), on the demo data"
    for last, span in ((46.8, 5.0), (56.4, 10.0 * 1.24)):  # a margin of 12% on either side
        figure = _draw([Line("ours", [Point(1, 46.4), Point(2, last)])], "frames", "top-1", title, "", "log")
        low, high = figure.axes[0].get_ylim()
        assert high - low == pytest.approx(span)
        assert (low + high) / 2 == pytest.approx((46.4 + last) / 2)
        assert figure.axes[0].get_title().count("\n") == 1
