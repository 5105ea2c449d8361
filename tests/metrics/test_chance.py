from __future__ import annotations

import math

import pytest

from asgmcli.metrics.chance import LEVEL, above_chance


def tail(right: int, answers: int, chance: float) -> float:
    return sum(math.comb(answers, k) * chance**k * (1 - chance) ** (answers - k) for k in range(right, answers + 1))


@pytest.mark.parametrize(("answers", "chance"), [(20, 0.25), (50, 0.1), (8, 0.5)])
def test_the_bound_is_the_binomial_tail(answers: int, chance: float) -> None:
    for right in range(answers + 1):
        assert above_chance(right, answers, chance) == (tail(right, answers, chance) < LEVEL)


def test_by_hand() -> None:
    # Seven heads in a row come in one of 128 series, six in one of 64.
    assert above_chance(7, 7, 0.5)
    assert not above_chance(6, 6, 0.5)
    assert not above_chance(10, 10, 1.0)
    assert not above_chance(0, 0, 0.5)
