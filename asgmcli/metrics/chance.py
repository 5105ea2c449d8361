"""Test if an accuracy differs from guessing."""

from __future__ import annotations

from typing import Final

LEVEL: Final = 0.01
"""Guessing counts as learning in one case of so many."""


def above_chance(right: int, answers: int, chance: float) -> bool:
    """Return True where guessing would hardly give so many right answers: binomial, one-sided, at `LEVEL`.

    Args:
        right: correct answers, 0..answers.
        answers: number of answers.
        chance: probability of a correct guess, 0..1.
    """
    from scipy.stats import binom

    return bool(binom.sf(right - 1, answers, chance) < LEVEL)
