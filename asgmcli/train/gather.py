"""The runs of a recipe that are there, and those that are not, as a table and a picture."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asgmcli.errors import DataError
from asgmcli.metrics.paired import paired_difference
from asgmcli.recipe import load_recipe
from asgmcli.report.comparison import MeasuredRow, row_comparison
from asgmcli.report.table import Table
from asgmcli.settings import Recipe
from asgmcli.train.run import Run
from asgmcli.train.session import finished_runs, matching_runs
from asgmcli.train.sweep import MAIN_METRIC, summarize, write_summary

OUTPUTS = ("table.md", "table.csv", "table.json", "comparison.png")
Results = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Gathered:
    """A recipe's finished runs.

    Attributes:
        results: the content of each result.json.
        table: measured beside the paper.
        missing: by row, the seeds that another row has and this one has not; an empty list where no seed is finished.
        unfinished: folders of runs that were begun.
        notes: what a reader of the table must know.
    """

    recipe: Recipe
    results: Results
    table: Table
    missing: dict[str, list[int]]
    unfinished: list[Path]
    notes: list[str]

    def write(self, folder: Path) -> list[Path]:
        """table.md, table.csv, table.json and comparison.png in `folder`; their paths."""
        write_summary(folder, self.table, self.results)
        metric = main_metric(self.results)
        label = "top-1, percent" if metric == MAIN_METRIC else f"{metric}, percent"
        row_comparison(
            measured_rows(self.recipe, self.results), folder / "comparison.png", label=label, title=self.recipe.title
        )
        return [folder / name for name in OUTPUTS]


def gather(path: Path, runs: Path) -> Gathered:
    """What is finished of the recipe in the file `path` under the folder `runs`; other settings are noted, not hidden.

    Raises:
        RecipeError: the recipe cannot be read.
        DataError: nothing is finished, or a result cannot be read.
    """
    recipe = load_recipe(path)
    folder = runs / recipe.name
    try:
        every = [result for _, result in finished_runs(runs, recipe.name)]
        results = [result for result in every if result["row"] in recipe.rows and result["metrics"]]
        manifests = {result.get("data", {}).get("manifest") for result in results}
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{folder}: a result.json in it was not written by asgm train") from None
    if not results:
        raise DataError(f"{folder}: no finished run of recipe {recipe.name!r} with a row of it. Train one first.")
    seeds = {name: {result["seed"] for result in results if result["row"] == name} for name in recipe.rows}
    union = set().union(*seeds.values())
    missing = {name: sorted(union - found) if found else [] for name, found in seeds.items() if found != union}
    notes = []
    others = sorted({str(result["row"]) for result in every} - set(recipe.rows))
    if others:
        notes.append(f"left out, not rows of the recipe: {', '.join(others)}")
    if len(manifests) > 1:
        notes.append("the runs were made on different versions of the data; their gains do not compare")
    notes += [f"in the table, though made with other settings: {text}" for text in _changed(path, runs, recipe)]
    return Gathered(recipe, results, summarize(recipe, results), missing, _unfinished(folder), notes)


def _changed(path: Path, runs: Path, recipe: Recipe) -> list[str]:
    """Finished runs of the recipe's rows whose settings are not those of the recipe today, and what differs."""
    rows = [runs / recipe.name / name for name in recipe.rows]
    return [text for text in matching_runs(runs, path, ())[1] if any(text.startswith(f"{row}{os.sep}") for row in rows)]


def main_metric(results: Results) -> str:
    """The metric that the picture shows: top-1, or the first that there is."""
    return (
        MAIN_METRIC
        if any(MAIN_METRIC in result["metrics"] for result in results)
        else next(iter(results[0]["metrics"]))
    )


def measured_rows(recipe: Recipe, results: Results) -> list[MeasuredRow]:
    """The recipe's rows that have a finished run, with Student's 95% interval of their mean."""
    metric = main_metric(results)
    rows = []
    for name, row in recipe.rows.items():
        values = [r["metrics"][metric] for r in results if r["row"] == name and metric in r["metrics"]]
        if not values:
            continue
        around = paired_difference(values, [0.0] * len(values))
        low, high = (None, None) if math.isnan(around.low) else (around.low, around.high)
        main = name == recipe.default_row
        rows.append(MeasuredRow(row.title, around.mean, low, high, values, row.paper.get(metric), main))
    return rows


def read_metrics(run: Run) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; evaluations, where there are several, as quantities of their own.

    Raises:
        DataError: a line is not JSON.
    """
    if not run.metrics_path.exists():
        return []
    lines = []
    for number, text in enumerate(run.metrics_path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            lines.append(dict(json.loads(text)))
        except (ValueError, TypeError):
            raise DataError(f"{run.metrics_path}:{number}: not a JSON object; remove the line") from None
    evaluations = [line for line in lines if "evaluation" in line]
    training = [line for line in lines if "evaluation" not in line]
    if len(evaluations) < 2:
        return training
    measured = [
        {"step": line.get("step"), **{f"{name}, evaluated": value for name, value in line["evaluation"].items()}}
        for line in evaluations
    ]
    return training + measured


def _unfinished(folder: Path) -> list[Path]:
    begun = sorted(path.parent for path in folder.glob("*/seed*/recipe.yaml"))
    return [path for path in begun if not Run(path).result_path.exists()]
