"""The differences that a recipe names beforehand (`compare.pairs`), judged together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from asgmcli.metrics.holm import holm, paired_p
from asgmcli.metrics.paired import PairedDifference, paired_difference
from asgmcli.recipe.base import Recipe
from asgmcli.report.table import Cell, Table, signed
from asgmcli.train.run import Result


def planned_differences(
    recipe: Recipe, results: Sequence[Result], metric: str
) -> list[tuple[str, str, PairedDifference]]:
    """Return each named pair of rows that shares a seed, and the first's `metric` less the second's, seed by seed.

    Intervals are wide enough for as many pairs as are named to be right together in 95% of cases (Bonferroni).
    """
    assert recipe.compare is not None
    values: dict[str, dict[int, float]] = {}
    for result in results:
        if metric in result["metrics"]:
            values.setdefault(result["row"], {})[result["seed"]] = result["metrics"][metric]
    found = []
    for first, second in recipe.compare.pairs:
        ours, theirs = values.get(first, {}), values.get(second, {})
        if seeds := sorted(ours.keys() & theirs.keys()):
            paired = paired_difference([ours[s] for s in seeds], [theirs[s] for s in seeds], len(recipe.compare.pairs))
            found.append((first, second, paired))
    return found


def planned_table(recipe: Recipe, results: Sequence[Result]) -> Table | None:
    """Return a table, a line a pair that `compare.pairs` names; None where no pair shares a seed.

    Each metric's pairs are one family: its p-values are corrected for their number by Holm's method.
    """
    if recipe.compare is None or not recipe.compare.pairs:
        return None
    lines: dict[tuple[str, str], list[Cell]] = {}
    columns = ["row", "less row", "seeds"]
    for metric in recipe.compare.metrics:
        found = planned_differences(recipe, results, metric)
        corrected = holm([paired_p(paired) for *_, paired in found], len(recipe.compare.pairs))
        before = len(columns)
        columns += [metric, "95% together", "p (Holm)", "wins"]
        for (first, second, paired), p in zip(found, corrected, strict=True):
            start: list[Cell] = [recipe.rows[first].title, recipe.rows[second].title, paired.pairs]
            line = lines.setdefault((first, second), start)
            line += [None] * (before - len(line)) + _cells(paired, p)
    if not lines:
        return None
    rows = [line + [None] * (len(columns) - len(line)) for line in lines.values()]
    count = len(recipe.compare.pairs)
    note = (
        f"Percent; differences ± standard error on the same seeds. {count} differences were named beforehand: a "
        "metric's intervals are right together in 95% of cases (Bonferroni), its p are Student's, corrected by Holm's "
        "method."
    )
    return Table(f"{recipe.title}: differences named beforehand", columns, rows, note=note)


def _cells(paired: PairedDifference, p: float) -> list[Cell]:
    wins = f"{paired.wins} of {paired.pairs}"
    if paired.pairs == 1:
        return [signed(paired.mean), None, None, wins]
    told = None if math.isnan(p) else "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
    return [f"{signed(paired.mean)} ± {paired.error:.1f}", f"[{signed(paired.low)}, {signed(paired.high)}]", told, wins]
