"""Report an evaluation on the terminal and in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from asgmcli.data.manifest import Manifest
from asgmcli.files import write_text
from asgmcli.recipe.base import Recipe
from asgmcli.report.curves import training_curves
from asgmcli.report.table import Cell, Table
from asgmcli.runs.target import Found
from asgmcli.tasks import TASKS
from asgmcli.train.log import read_metrics
from asgmcli.train.task import Evaluation

OUTPUTS = (
    "result.json",
    "predictions.csv",
    "curves.png",
    "classes.md",
    "confusion.png",
    "localization.md",
    "localization.png",
)
MOST_LINES = 60
"""Classes up to which the terminal shows every one; of more only the worst."""
WORST = 20


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation with a line for each clip or frame, its data, and its views."""

    trained: Found
    evaluation: Evaluation
    predictions: Table
    manifest: Manifest
    split: str
    views: dict[str, int]

    def result(self) -> dict[str, object]:
        """Return the content of result.json."""
        about: dict[str, object] = {"target": str(self.trained.weights), "task": self.trained.task}
        if self.trained.run is not None:
            recipe = self.trained.run.recipe()
            about |= {"recipe": recipe.name, "row": recipe.default_row, "seed": recipe.seed}
        return {
            **about,
            "data": {"path": str(self.manifest.path), "manifest": self.manifest.sha256, "split": self.split},
            "views": self.views,
            "metrics": self.evaluation.metrics,
            "tables": {name: table.data() for name, table in self.evaluation.tables.items()},
            "warnings": self.trained.warnings,
        }

    def write(self, folder: Path) -> list[Path]:
        """Write pictures, tables and predictions to `folder`, result.json last. Return their paths."""
        outputs = []
        for name, draw in self.evaluation.figures.items():
            draw(folder / f"{name}.png")
            outputs.append(folder / f"{name}.png")
        lines = read_metrics(self.trained.run.metrics_path) if self.trained.run is not None else []
        if lines:
            title = str(self.trained.weights.parent)
            outputs.append(training_curves(lines, folder / "curves.png", title=title))
        texts = {f"{name}.md": table.markdown() for name, table in self.evaluation.tables.items()}
        texts["predictions.csv"] = self.predictions.csv()
        texts["result.json"] = json.dumps(self.result(), indent=2) + "\n"
        for file, text in texts.items():
            write_text(folder / file, text)
            outputs.append(folder / file)
        return outputs

    def show(self, console: Console) -> None:
        """Print the tables, beside the paper's numbers where the run's row has some, and the training's warnings."""
        console.print(self._summary().rich())
        for table in self.evaluation.tables.values():
            if len(table.rows) > MOST_LINES:
                worst = sorted(table.rows, key=_accuracy)[:WORST]
                table = replace(table, title=f"{table.title}: the {WORST} worst of {len(table.rows)}", rows=worst)
            console.print(table.rich())
        for text in self.trained.warnings:
            console.print(f"Warning, of its training: {text}")

    def _summary(self) -> Table:
        paper = papers_numbers(self.trained, self.manifest, self.split)
        run = self.trained.run
        return numbers_table(
            str(self.trained.weights) if run is None else title_of(run.recipe()), self.evaluation.metrics, paper
        )


def title_of(recipe: Recipe) -> str:
    """Return what a run is called: its recipe, row and seed."""
    return f"{recipe.title}: {recipe.rows[recipe.default_row].title}, seed {recipe.seed}"


def numbers_table(
    title: str, metrics: Mapping[str, float], paper: Mapping[str, float], notes: Sequence[str] = ()
) -> Table:
    """Return a table of the metrics, percent, beside the paper's if there are any."""
    columns = ["measure", "percent", "paper"][: 3 if paper else 2]
    lines: list[list[Cell]] = [[name, value, paper.get(name)] for name, value in metrics.items()]
    return Table(title, columns, [line[: len(columns)] for line in lines], notes=notes)


def papers_numbers(trained: Found, manifest: Manifest, split: str) -> dict[str, float]:
    """Return what the paper prints for the run's row, by metric; empty on other clips than the run's own evaluation."""
    if trained.run is None or trained.weights.name != TASKS[trained.task].WEIGHTS:
        return {}
    recipe = trained.run.recipe()
    return recipe.rows[recipe.default_row].paper if trained.evaluated_on == (manifest.sha256, split) else {}


def _accuracy(line: Sequence[Cell]) -> float:
    """Return a class's top-1 as a sort key; classes without a clip come last."""
    return line[2] if isinstance(line[2], float) else float("inf")
