"""Differences between two rows that were run on the same seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a - b over `pairs`, its standard error, its 95% interval (Student's t), how often a won, and how many
    pairs differ.

    The interval is of this difference alone, or wide enough for several to be right together (`comparisons`).

    With one pair there is neither error nor interval (NaN).
    """

    mean: float
    error: float
    low: float
    high: float
    wins: int
    pairs: int
    differing: int = 0


def paired_difference(a: Sequence[float], b: Sequence[float], comparisons: int = 1) -> PairedDifference:
    """Compare `a` and `b`, one value a seed each, in the same order of seeds.

    With `comparisons` above 1 the interval is one of so many that are all right in 95% of cases (Bonferroni).

    Raises:
        ValueError: no pair, or lists of different lengths.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"two lists of the same seeds are needed, got {len(a)} and {len(b)} values")
    differences = [x - y for x, y in zip(a, b, strict=True)]
    mean, wins = statistics.fmean(differences), sum(d > 0 for d in differences)
    differing = sum(d != 0 for d in differences)
    if len(differences) == 1:
        return PairedDifference(mean, math.nan, math.nan, math.nan, wins, 1, differing)
    from scipy.stats import t  # a second to import, and needed only here

    error = statistics.stdev(differences) / math.sqrt(len(differences))
    half = float(t.ppf(1 - 0.025 / comparisons, len(differences) - 1)) * error
    return PairedDifference(mean, error, mean - half, mean + half, wins, len(differences), differing)
