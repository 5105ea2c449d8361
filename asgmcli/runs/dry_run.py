"""`asgm train --dry-run`: what a row's run would be and take, with nothing trained and nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asgmcli.data.boxes import has_boxes
from asgmcli.data.plan import Plan
from asgmcli.errors import DataError
from asgmcli.nn.weights import WEIGHTS_FOLDER, timm_file
from asgmcli.prepare.source import is_generated, manifest_path, open_manifest
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.masks import MasksRecipe
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.shipped import find_beside
from asgmcli.report.table import Cell, Table
from asgmcli.runs.estimate import Needs, needs, product_rate
from asgmcli.tasks.masks.drawing import find_example
from asgmcli.tasks.recognition.data import divide
from asgmcli.tasks.recognition.views import labeled_rows
from asgmcli.train.run import run_of

GIGA = 10**9
TERA = 10**12


@dataclass(frozen=True)
class Counts:
    """Clips of each kind, the classes, the steps of an epoch, and the views that an evaluation judges."""

    clips: dict[str, int]
    classes: int
    steps: int
    views: int


@dataclass(frozen=True)
class DryRun:
    """A row's run before it is one.

    Attributes:
        needs: None where nothing is trained.
        counts: None where the data are not there; `missing` then says what to do.
        before: what is made, read or fetched first, a line each.
    """

    recipe: Recipe
    run: Path
    state: str
    needs: Needs | None
    counts: Counts | None
    missing: str
    before: list[str]

    @property
    def steps(self) -> int | None:
        """Of the whole run."""
        if self.counts is None or self.needs is None:
            return None
        steps = self.recipe.train.epochs * self.counts.steps
        return min(steps, self.recipe.train.max_steps or steps)

    @property
    def operations(self) -> int | None:
        """Of the whole run: its steps and its evaluations."""
        steps = self.steps
        if steps is None or self.counts is None or self.needs is None:
            return None
        semi = isinstance(self.recipe, RecognitionRecipe) and self.recipe.semi_supervised
        first = min(steps, self.recipe.train.supervised_epochs * self.counts.steps) if semi else 0
        trained = first * self.needs.supervised.operations + (steps - first) * self.needs.step.operations
        every = self.recipe.train.evaluate_every
        evaluations = 1 + ((self.recipe.train.epochs - 1) // every if every else 0)
        return trained + evaluations * self.counts.views * self.needs.view.operations

    def lines(self) -> list[str]:
        """Where the run would lie, its clips, the networks' parts, and what comes first."""
        found = [f"Run: {self.run} ({self.state})"]
        if self.counts is not None and self.counts.clips:
            clips = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.clips.items())
            classes = f", {self.counts.classes} classes" if self.counts.classes else ""
            found.append(f"Clips: {clips}{classes}; {self.counts.steps:,} steps an epoch")
        if self.missing:
            found.append(f"Clips: not there yet, so that steps and time are not known. {self.missing}")
        if self.needs is not None:
            parts = (f"{name} {count / 10**6:,.2f} M" for name, count in self.needs.parameters.items())
            one = "" if self.counts is not None else " (a classifier of one class)"
            found.append(f"Parameters: {', '.join(parts)}{one}")
        return found + [f"First: {line}" for line in self.before]

    def data(self, rate: float | None) -> dict[str, Any]:
        """What JSON holds of it; `rate` operations a second give the least seconds."""
        found: dict[str, Any] = {
            "recipe": self.recipe.model_dump(mode="json", exclude={"rows"}),
            "run": str(self.run),
            "state": self.state,
            "clips": self.counts.clips if self.counts else None,
            "missing": self.missing or None,
            "before": self.before,
        }
        if self.needs is None:
            return found
        seconds = self.operations / rate if self.operations is not None and rate else None
        return found | {
            "parameters": {**self.needs.parameters, "all": sum(self.needs.parameters.values())},
            "bytes": {"states": self.needs.states, "step": self.needs.step.kept, "all": self.needs.memory},
            "operations": {"step": self.needs.step.operations, "all": self.operations},
            "steps": self.steps,
            "operations_per_second": rate,
            "least_seconds": seconds,
        }


def dry_run(recipe: Recipe, runs: Path, recipes: Path) -> DryRun:
    """Look at what `asgm train` would do with `recipe`.

    Raises:
        RecipeError: a recipe that it needs cannot be read.
    """
    counts, missing = None, ""
    try:
        counts = _count(recipe)
    except DataError as error:
        missing = error.message
        generated = not isinstance(recipe, PretextRecipe) and _generated(recipe)
        missing = "the demo data are generated first" if generated else missing
    trained = None if isinstance(recipe, MasksRecipe) else needs(recipe, counts.classes if counts else 1)
    run = run_of(recipe, runs)
    state = "finished" if run.result() is not None else "begun" if run.recipe_path.exists() else "not begun"
    return DryRun(recipe, run.folder, state, trained, counts, missing, _before(recipe, runs, recipes))


def _generated(recipe: Any) -> bool:
    return is_generated(recipe.data) and not manifest_path(recipe.data).exists()


def _count(recipe: Recipe) -> Counts:
    """Read the manifest, not the clips.

    Raises:
        DataError: no manifest, or too few clips of a kind.
    """
    if isinstance(recipe, RecognitionRecipe):
        return _recognition(recipe)
    if isinstance(recipe, LocalizationRecipe):
        manifest = open_manifest(recipe.data)
        pairs = [row for row in manifest.of_split(recipe.data.train_split) if row.audio]
        judged = open_manifest(recipe.evaluation_data)
        frames = [row for row in judged.of_split(recipe.data.eval_split) if row.audio] if has_boxes(judged) else []
        plan = Plan(len(pairs), 0, recipe.train.batch, 0, recipe.seed)
        clips = {"pairs": len(pairs), "judged": len(frames)}
        return Counts(clips, 0, plan.steps, len(frames) * recipe.evaluate.frames)
    if isinstance(recipe, PretextRecipe):
        made = recipe.generated
        plan = Plan(made.train, 0, recipe.train.batch, 0, recipe.seed)
        return Counts({"generated": made.train, "judged": made.test}, 0, plan.steps, made.test)
    assert isinstance(recipe, MasksRecipe)
    find_example(recipe)
    return Counts({"shown": 1}, 0, 0, 0)


def _recognition(recipe: RecognitionRecipe) -> Counts:
    manifest = open_manifest(recipe.data)
    labeled, unlabeled = divide(recipe, manifest)
    judged = labeled_rows(manifest, recipe.data.eval_split)
    plan = Plan(len(labeled), len(unlabeled), recipe.train.batch, recipe.train.unlabeled_ratio, recipe.seed)
    clips = {"labeled": len(labeled), "unlabeled": len(unlabeled), "judged": len(judged)}
    views = len(judged) * recipe.evaluate.clips * recipe.evaluate.crops
    return Counts(clips, len(manifest.classes), plan.steps, views)


def _before(recipe: Recipe, runs: Path, recipes: Path) -> list[str]:
    """Where the first weights and the localizer come from, and whether they are there."""
    lines = []
    for source in recipe.sources():
        if source.recipe is not None:
            run = run_of(load_recipe(find_beside(recipes, source.recipe)), runs)
            lines.append(f"recipe {source.recipe}: " + ("finished" if run.result() is not None else "is run first"))
        elif source.file is not None:
            lines.append(f"file {source.file}: " + ("there" if Path(source.file).exists() else "MISSING"))
        elif (name := getattr(source, "timm", None)) is not None:
            there = timm_file(name)
            lines.append(f"timm's {name}: " + (str(there) if there else f"not in {WEIGHTS_FOLDER}/, is fetched"))
    return list(dict.fromkeys(lines))


def rates(runs: Sequence[DryRun], device: torch.device) -> list[float | None]:
    """For each run the rate of `device` at its networks' width and precision, measured once each."""
    found: dict[tuple[int, str], float] = {}
    answer: list[float | None] = []
    for run in runs:
        if run.needs is None:
            answer.append(None)
            continue
        key = (run.needs.width, run.recipe.train.precision)
        if key not in found:
            found[key] = product_rate(device, run.recipe.train, run.needs.width)
        answer.append(found[key])
    return answer


def dry_table(runs: Sequence[DryRun], measured: Sequence[float | None]) -> Table:
    """A line a run."""
    lines: list[list[Cell]] = []
    for run, rate in zip(runs, measured, strict=True):
        found, total = run.needs, run.operations
        name: list[Cell] = [run.recipe.default_row, run.recipe.seed]
        if found is None:
            lines.append([*name, *[None] * 5])
            continue
        hours = _duration(total / rate) if total is not None and rate else None
        millions = sum(found.parameters.values()) / 10**6
        memory = _digits(found.memory / GIGA)
        lines.append([*name, _digits(millions), memory, _digits(found.step.operations / TERA), run.steps, hours])
    columns = ["row", "seed", "parameters, M", "memory, GB", "TFLOP a step", "steps", "time"]
    note = (
        "Memory: weights, gradients, the optimizer's numbers, the teacher, and what a step keeps for its backward "
        f"pass. Time: the operations at the rate of this device's matrix products, {_shown(measured)}measured now. "
        "Both are the least: reading clips and small operations come on top. A mask's localizer is not counted, nor "
        "what train.activation_checkpointing and train.accumulate save in memory and cost in time."
    )
    return Table("", columns, lines, note)


def _shown(measured: Sequence[float | None]) -> str:
    found = sorted({round(rate / GIGA) for rate in measured if rate})
    return f"{' and '.join(f'{rate:,}' for rate in found)} GFLOP/s " if found else ""


def _digits(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86400:,.0f} days"
