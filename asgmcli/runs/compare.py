"""Compare rows with one of them, seed by seed: same clips, labels and starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asgmcli.files import write_text
from asgmcli.metrics.paired import PairedDifference, paired_difference
from asgmcli.recipe.base import Recipe
from asgmcli.report.differences import Interval, Panel, difference_curves, difference_intervals
from asgmcli.report.table import Cell, Table, mean_std, signed
from asgmcli.runs.on_demo import RecipeFile, number_of
from asgmcli.runs.planned import planned_table
from asgmcli.train.run import Result

Results = Sequence[Result]


@dataclass(frozen=True)
class Difference:
    """A row's `metric`, in percent by seed, and its difference from the row it is compared with.

    `paired` is None for the reference row itself, and for rows that share no seed with it.
    """

    row: str
    metric: str
    values: Mapping[int, float]
    paired: PairedDifference | None


def compare(
    recipe: Recipe, results: Results, against: str, places: Mapping[str, float] | None = None
) -> list[Difference]:
    """Compare every row of `recipe` that has a result, in its order, with the row or the curve `against`.

    A row of a curve is compared with that curve's row at the same place; `places` are those of all rows.
    """
    found: dict[tuple[str, str], dict[int, float]] = {}
    for result in results:
        for metric, value in result["metrics"].items():
            found.setdefault((result["row"], metric), {})[result["seed"]] = value
    assert recipe.compare is not None
    differences = []
    for metric in recipe.compare.metrics:
        for name in recipe.runnable:
            values = found.get((name, metric), {})
            other = _reference(recipe, name, against, places)
            base = found.get((other, metric), {}) if other not in (None, name) else {}
            seeds = sorted(values.keys() & base.keys())
            paired = paired_difference([values[s] for s in seeds], [base[s] for s in seeds]) if seeds else None
            if values:
                differences.append(Difference(name, metric, dict(sorted(values.items())), paired))
    return differences


def _reference(recipe: Recipe, row: str, against: str, places: Mapping[str, float] | None) -> str | None:
    """Return the row that `row` is compared with; None if there is none at its place."""
    if not places:
        return against
    at_place = [name for name, place in places.items() if place == places[row]]
    return next((name for name in at_place if recipe.rows[name].curve == against), None)


def difference_table(recipe: Recipe, differences: Sequence[Difference], against: str) -> Table:
    """Return a table, a line a row: each metric's mean ± deviation, difference ± standard error, interval and wins."""
    assert recipe.compare is not None
    metrics = recipe.compare.metrics
    columns = ["row", "seeds"]
    for metric in metrics:
        columns += [metric, "difference ± s.e.", "95% interval", "wins"]
    lines: list[list[Cell]] = []
    rows = [name for name in recipe.rows if any(difference.row == name for difference in differences)]
    for name in rows:
        own = {difference.metric: difference for difference in differences if difference.row == name}
        line: list[Cell] = [recipe.rows[name].title, max(len(difference.values) for difference in own.values())]
        for metric in metrics:
            line += _cells(own.get(metric))
        lines.append(line)
    bold = frozenset(index for index, name in enumerate(rows) if name == recipe.default_row)
    note = "Percent. Means ± sample deviation; differences on the same seeds, their intervals Student's."
    return Table(f"{recipe.title}: against {_title(recipe, against)}", columns, lines, note=note, bold=bold)


def _cells(difference: Difference | None) -> list[Cell]:
    if difference is None:
        return [None] * 4
    mean = mean_std(list(difference.values.values()))
    paired = difference.paired
    if paired is None:
        return [mean, None, None, None]
    wins = f"{paired.wins} of {paired.pairs}"
    if paired.pairs == 1:
        return [mean, signed(paired.mean), None, wins]
    error, interval = f"{signed(paired.mean)} ± {paired.error:.1f}", f"[{signed(paired.low)}, {signed(paired.high)}]"
    return [mean, error, interval, wins]


def write_differences(
    folder: Path, file: RecipeFile, recipe: Recipe, results: Results
) -> tuple[list[Table], list[Path]]:
    """Write against_<row>.md, .csv and .png to `folder` for each reference row, or curve, of `recipe`, and planned.md
    and .csv for the pairs that it names.

    Rows without a result are left out; so is a comparison without any row.

    Args:
        folder: where the files go.
        file: the recipe's file, which gives the rows' places on a figure's axis.
        recipe: as loaded, with its overrides.
        results: the content of each run's result.json.

    Raises:
        DataError: the folder cannot be written to.
    """
    tables: list[Table] = []
    paths: list[Path] = []
    if recipe.compare is None:
        return tables, paths
    key = recipe.figure.key if recipe.figure is not None else None
    places = {name: number_of(file.load(name), key) for name in recipe.runnable} if key is not None else {}
    for against in recipe.compare.to:
        differences = compare(recipe, results, against, places)
        if all(difference.paired is None for difference in differences):
            continue
        table = difference_table(recipe, differences, against)
        tables.append(table)
        stem = folder / f"against_{against}"
        for suffix, text in ((".md", table.markdown()), (".csv", table.csv())):
            write_text(stem.with_suffix(suffix), text)
            paths.append(stem.with_suffix(suffix))
        paths.append(_draw(recipe, differences, against, places, stem.with_suffix(".png")))
    if (planned := planned_table(recipe, results)) is not None:
        tables.append(planned)
        for suffix, text in ((".md", planned.markdown()), (".csv", planned.csv())):
            paths.append(folder / f"planned{suffix}")
            write_text(paths[-1], text)
    return tables, paths


def _draw(
    recipe: Recipe, differences: Sequence[Difference], against: str, places: Mapping[str, float], path: Path
) -> Path:
    """Draw curves if the rows belong to a figure, else an interval a row; a panel a metric."""
    assert recipe.compare is not None
    panels = []
    for metric in recipe.compare.metrics:
        lines: dict[str, list[Interval]] = {}
        for difference in differences:
            row, paired = recipe.rows[difference.row], difference.paired
            if difference.metric != metric or paired is None:
                continue
            low, high = (None, None) if math.isnan(paired.low) else (paired.low, paired.high)
            interval = Interval(
                paired.mean, low, high, places.get(difference.row), difference.row == recipe.default_row
            )
            lines.setdefault(row.curve or row.title, []).append(interval)
        panels.append(Panel(metric, lines))
    label = f"percent more than {_title(recipe, against)}, 95% interval"
    if recipe.figure is not None:
        return difference_curves(panels, path, label=label, title=recipe.title, axis=recipe.figure.label)
    return difference_intervals(panels, path, label=label, title=recipe.title)


def _title(recipe: Recipe, row: str) -> str:
    """Return a row's title, or a curve's name."""
    return recipe.rows[row].title if row in recipe.rows else row
