"""Several differences judged together: Student's paired test, and Holm's correction for how many there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from asgmcli.metrics.paired import PairedDifference


def paired_p(difference: PairedDifference) -> float:
    """Return the two-sided p of Student's paired test that the mean difference is zero.

    NaN of one pair, and where all differences are the same but not zero: their spread is then too coarsely measured to
    be tested against. 1 where all are zero.
    """
    if difference.pairs < 2:
        return math.nan
    if difference.error == 0:
        return 1.0 if difference.mean == 0 else math.nan
    from scipy.stats import t  # a second to import, and needed only here

    return float(2 * t.sf(abs(difference.mean) / difference.error, difference.pairs - 1))


def holm(values: Sequence[float], named: int = 0) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method (Scandinavian Journal of Statistics, 1979).

    Those below .05 hold together: the chance that any of them is wrong is at most 5%. NaN stays NaN.

    Args:
        values: NaN where one is not known.
        named: how many were named beforehand, where more than `values` has; what is not known counts as well.
    """
    known = sorted((value, place) for place, value in enumerate(values) if not math.isnan(value))
    count = max(named, len(values))
    found, highest = [math.nan] * len(values), 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (count - rank) * value))
        found[place] = highest
    return found
