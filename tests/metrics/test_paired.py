from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from asgmcli.metrics.paired import paired_difference


def test_by_hand() -> None:
    # Differences 1, 3, 5: mean 3, deviation 2, error 2 / sqrt 3; t of 2 degrees at 97.5% is 4.302653.
    found = paired_difference([11, 23, 5], [10, 20, 0])
    assert (found.mean, found.wins, found.pairs) == (3.0, 3, 3)
    assert found.error == pytest.approx(2 / math.sqrt(3))
    assert found.low == pytest.approx(3 - 4.302653 * 2 / math.sqrt(3), abs=1e-5)
    assert found.high == pytest.approx(3 + 4.302653 * 2 / math.sqrt(3), abs=1e-5)


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(70, 5, 8), rng.normal(68, 5, 8)
    found = paired_difference(list(a), list(b))
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.wins == int((a > b).sum())
    back = paired_difference(list(b), list(a))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert found.wins + back.wins == 8


def test_what_seeds_share_cancels() -> None:
    draws = [0.0, 40.0, -30.0]
    found = paired_difference([70 + x for x in draws], [68 + x for x in draws])
    assert (found.low, found.high) == pytest.approx((2.0, 2.0))


def test_one_pair_has_no_interval_and_no_pair_is_refused() -> None:
    found = paired_difference([3.0], [5.0])
    assert (found.mean, found.wins, found.pairs) == (-2.0, 0, 1)
    assert all(math.isnan(value) for value in (found.error, found.low, found.high))
    with pytest.raises(ValueError, match="two lists"):
        paired_difference([], [])
    with pytest.raises(ValueError, match="two lists"):
        paired_difference([1.0], [1.0, 2.0])


def test_an_interval_among_several_is_bonferronis() -> None:
    """Differences 1, 2, 6: mean 3, error 1.5275; t of two degrees at 1 - .025 / 4 is 8.860 where it is 4.303 alone."""
    found = paired_difference([1.0, 2.0, 6.0], [0.0, 0.0, 0.0], comparisons=4)
    assert (found.low, found.high) == pytest.approx((3 - 8.860 * 1.5275, 3 + 8.860 * 1.5275), abs=2e-3)
    assert paired_difference([1.0, 2.0, 6.0], [0.0] * 3).high == pytest.approx(3 + 4.303 * 1.5275, abs=2e-3)
