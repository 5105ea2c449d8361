"""Holm's correction and the paired test, by hand."""

from __future__ import annotations

import math

import pytest
from scipy.stats import ttest_rel

from asgmcli.metrics.holm import holm, paired_p
from asgmcli.metrics.paired import paired_difference


def test_holm_steps_down_and_never_falls() -> None:
    # Sorted: .01 x 4, .02 x 3, .024 x 2 = .048, which may not fall below .06, .3 x 1.
    assert holm([0.02, 0.3, 0.01, 0.024]) == pytest.approx([0.06, 0.3, 0.04, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_is_not_known_yet_counts() -> None:
    found = holm([math.nan, 0.01, 0.04])
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([0.03, 0.08])
    assert holm([0.01, 0.04], named=5) == pytest.approx([0.05, 0.16])


def test_p_is_students() -> None:
    a, b = [3.0, 5.0, 4.0, 9.0], [2.0, 5.5, 1.0, 4.0]
    assert paired_p(paired_difference(a, b)) == pytest.approx(ttest_rel(a, b).pvalue)
    assert math.isnan(paired_p(paired_difference([1.0], [0.0])))
    assert math.isnan(paired_p(paired_difference([2.0, 3.0], [1.0, 2.0])))
    assert paired_p(paired_difference([2.0, 3.0], [2.0, 3.0])) == 1.0
