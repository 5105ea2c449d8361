"""Gather a recipe's finished runs as a table and a picture, and list the unfinished ones."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asgmcli.errors import DataError
from asgmcli.files import replacing
from asgmcli.metrics.paired import paired_difference
from asgmcli.prepare.source import manifest_path
from asgmcli.recipe.base import Recipe
from asgmcli.report.comparison import MeasuredRow, row_comparison
from asgmcli.report.sweep_curves import Line, Point, sweep_curves
from asgmcli.report.table import Table
from asgmcli.runs.compare import write_differences
from asgmcli.runs.on_demo import RecipeFile, number_of
from asgmcli.runs.same import with_twins
from asgmcli.runs.session import matching_runs
from asgmcli.runs.sweep import MAIN_METRIC, StaleRun, papers_note, summarize, write_summary
from asgmcli.tasks import DRAWERS
from asgmcli.train.run import Result, Run, run_of

TABLES = ("table.md", "table.csv", "table.json")
COMPARISON = ("comparison.png",)
CURVES = ("curve.png", "curve.svg")
Results = Sequence[Result]


@dataclass(frozen=True)
class Gathered:
    """A recipe's finished runs.

    Attributes:
        file: the recipe's.
        results: the content of each result.json that counts.
        table: measured beside the paper's numbers, with the notes a reader needs below it.
        left_out: finished runs of the recipe with other settings than the row's.
        missing: by row, the seeds that another row has and this one lacks; an empty list if no seed is finished.
        unfinished: folders of runs that were begun.
        lines: of the figure, if the recipe is one.
        drawn: the folder with the recipe's pictures, if its runs draw instead of training.
    """

    file: RecipeFile
    recipe: Recipe
    results: Results
    table: Table
    left_out: list[StaleRun]
    missing: dict[str, list[int]]
    unfinished: list[Path]
    lines: Sequence[Line] = ()
    drawn: Path | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files that `write` makes."""
        measured = CURVES if self.lines else COMPARISON
        pictures = DRAWERS[self.recipe.task].PICTURES if self.drawn is not None else measured
        return (*TABLES, *(pictures if self.results else ()))

    def write(self, folder: Path) -> list[Path]:
        """Write the table as Markdown, CSV and JSON, and the pictures. Return their paths."""
        write_summary(folder, self.table, self.results, self.left_out)
        if not self.results:
            return [folder / name for name in self.outputs]
        metric = main_metric(self.recipe, self.results)
        label = "top-1, percent" if metric == MAIN_METRIC else f"{metric}, percent"
        title = self.recipe.title
        for name in self.outputs[len(TABLES) :]:
            if self.drawn is not None:
                with replacing(folder / name) as temporary:
                    shutil.copyfile(self.drawn / name, temporary)
            elif self.recipe.figure is not None and self.lines:
                sweep_curves(
                    self.lines,
                    folder / name,
                    axis=self.recipe.figure.label,
                    scale=self.recipe.figure.scale,
                    label=label,
                    title=title,
                    note=papers_note(self.recipe),
                )
            else:
                rows = list(measured_rows(self.recipe, self.results).values())
                row_comparison(rows, folder / name, label=label, title=title, bars=self.recipe.bars)
        return [folder / name for name in self.outputs] + write_differences(
            folder, self.file, self.recipe, self.results
        )[1]


def gather(file: RecipeFile, runs: Path) -> Gathered:
    """Return what is finished of the recipe in `file` under the folder `runs`.

    Runs of other rows and recipes with a row's settings count as well, and are noted. Runs of the recipe that were made
    with other settings than their row's do not count: they are listed.

    Raises:
        RecipeError: the recipe cannot be read.
        DataError: nothing is finished, or a result cannot be read.
    """
    recipe = file.load()
    folder = runs / recipe.name
    try:
        results, left_out = matching_runs(runs, file, ())
        results = with_twins(runs, file, (), [result for result in results if result["metrics"]])
        other_clips = _other_clips(file, results)
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{folder}: a result.json in it was not written by asgm train") from None
    if not results and not left_out:
        raise DataError(f"{folder}: no finished run of recipe {recipe.name!r} with a row of it. Train one first.")
    seeds = {name: {result["seed"] for result in results if result["row"] == name} for name in recipe.runnable}
    union = set().union(*seeds.values())
    missing = {name: sorted(union - found) for name, found in seeds.items() if not found or found != union}
    missing = {name: found if seeds[name] else [] for name, found in missing.items()}
    unfinished = _unfinished(folder)
    below = [
        *note_lines(results),
        *_missing_lines(missing),
        *(f"Not finished: {path}" for path in unfinished),
    ]
    if other_clips:
        below.append("Note: the runs were made on different versions of the data; their gains do not compare")
    below += [f"Note: {text}" for text in _same(results)]
    below += [*warning_lines(results), *map(str, left_out)]
    return Gathered(
        file,
        recipe,
        results,
        replace(summarize(recipe, results), notes=below),
        left_out,
        missing,
        unfinished,
        figure_lines(file, recipe, results),
        _drawn(recipe, results, runs),
    )


def note_lines(results: Results) -> list[str]:
    """Return a line for each note of the runs' data, once."""
    return list(dict.fromkeys(f"Note: {note}" for result in results for note in result.get("notes", ())))


def warning_lines(results: Results) -> list[str]:
    """Return a line for each warning of a run's training."""
    return [
        f"Warning: {result['row']} seed {result['seed']}: {text}"
        for result in results
        for text in result.get("warnings", ())
    ]


def _missing_lines(missing: Mapping[str, Sequence[int]]) -> list[str]:
    """Return a line for each row with fewer seeds than another."""
    lines = []
    for name, seeds in missing.items():
        what = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else "no finished run"
        lines.append(f"Missing: {name}: {what}")
    return lines


def _same(results: Results) -> list[str]:
    """Return for each row whose runs are another row's the folder of those, without the seed."""
    found: dict[tuple[str, str], list[int]] = {}
    for result in results:
        if "same_as" in result:
            found.setdefault((result["row"], str(Path(result["same_as"]).parent)), []).append(result["seed"])
    return [
        f"{row}: the same settings as {other}, whose runs count (seed{'s' if len(seeds) > 1 else ''} "
        f"{', '.join(map(str, seeds))})"
        for (row, other), seeds in found.items()
    ]


def _drawn(recipe: Recipe, results: Results, runs: Path) -> Path | None:
    """Return the folder with the pictures of the default row, or of another one if that was not drawn."""
    if recipe.task not in DRAWERS or not results:
        return None
    first = min(results, key=lambda result: (result["row"] != recipe.default_row, result["seed"]))
    own = run_of(recipe.model_copy(update={"default_row": first["row"], "seed": first["seed"]}), runs).folder
    return runs / first["same_as"] if "same_as" in first else own


def figure_lines(file: RecipeFile, recipe: Recipe, results: Results) -> list[Line]:
    """Return the recipe's figure: a line for each `curve` of its rows, a point for each value of the key.

    Rows that result in the same value (eight frames averaged where a clip has two) are one point.
    """
    if recipe.figure is None or not results:
        return []
    places = {name: number_of(file.load(name), recipe.figure.key) for name in recipe.runnable}
    means = measured_rows(recipe, results)
    lines = []
    for curve in dict.fromkeys(row.curve for row in recipe.runnable.values()):
        points: dict[float, Point] = {}
        for name, row in recipe.runnable.items():
            if row.curve != curve or points.get(places[name], Point(0)).mean is not None:
                continue
            found, paper = means.get(name), row.paper.get(MAIN_METRIC)
            points[places[name]] = (
                Point(places[name], found.mean, found.low, found.high, found.values, paper)
                if found is not None
                else Point(places[name], paper=paper)
            )
        main = recipe.rows[recipe.default_row].curve == curve
        lines.append(Line(curve, [points[place] for place in sorted(points)], main))
    return lines


def _other_clips(file: RecipeFile, results: Results) -> bool:
    """Return True if runs that name the same clips were made on different ones; each seed may have clips of its own."""
    manifests: dict[Path | None, set[object]] = {}
    for result in results:
        recipe = file.load(result["row"], seed=result["seed"])
        place = next((manifest_path(data) for data in recipe.data_sets()), None)
        manifests.setdefault(place, set()).add(result.get("data", {}).get("manifest"))
    return any(len(found) > 1 for found in manifests.values())


def main_metric(recipe: Recipe, results: Results) -> str:
    """Return the metric that the picture shows, of those in the table: top-1, the headline, one that ends like it."""
    known = {name: None for result in results for name in result["metrics"]}
    shown = [name for name in recipe.show if name in known] or list(known)
    part = recipe.headline.rpartition("_")[2]
    likely = [MAIN_METRIC, recipe.headline, *(name for name in shown if part and name.endswith(f"_{part}"))]
    return next((name for name in likely if name in shown), shown[0])


def measured_rows(recipe: Recipe, results: Results) -> dict[str, MeasuredRow]:
    """Return the recipe's rows that have a finished run, by name, with Student's 95% interval of their mean."""
    metric = main_metric(recipe, results)
    rows = {}
    for name, row in recipe.rows.items():
        values = [r["metrics"][metric] for r in results if r["row"] == name and metric in r["metrics"]]
        if not values:
            continue
        around = paired_difference(values, [0.0] * len(values))
        low, high = (None, None) if math.isnan(around.low) else (around.low, around.high)
        main = name == recipe.default_row
        rows[name] = MeasuredRow(row.title, around.mean, low, high, values, row.paper.get(metric), main)
    return rows


def _unfinished(folder: Path) -> list[Path]:
    begun = sorted(path.parent for path in folder.glob("*/seed*/recipe.yaml"))
    return [path for path in begun if not Run(path).result_path.exists()]
