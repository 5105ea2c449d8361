"""`asgm train --dry-run`: a run's size and cost, with nothing trained and nothing written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from asgmcli.recipe.base import Recipe
from asgmcli.report.table import Cell, Table
from asgmcli.runs.counts import Counting, needs
from asgmcli.runs.estimate import product_rate
from asgmcli.runs.missing import Missing
from asgmcli.runs.room import lacking, room_for, size, training_files
from asgmcli.train.cost import Counts, Needs
from asgmcli.train.run import run_of

GIGA = 10**9
TERA = 10**12


@dataclass(frozen=True)
class DryRun:
    """The plan of a row's run.

    Attributes:
        needs: None if nothing is trained.
        counts: None if the data are missing and their size is unknown.
        missing: what is missing and has to be brought, a line each with what to do.
        before: what is made, read or fetched first, a line each.
        disk: bytes that it will write.
    """

    recipe: Recipe
    run: Path
    state: str
    needs: Needs | None
    counts: Counts | None
    missing: list[str]
    before: list[str]
    disk: int

    @property
    def steps(self) -> int | None:
        """Return the steps of the whole run."""
        return None if self.counts is None else self._steps(self.counts.steps)

    @property
    def operations(self) -> int | None:
        """Return the operations of the whole run: its steps and its evaluations."""
        return None if self.counts is None else self._operations(self.counts.steps)

    @property
    def otherwise(self) -> dict[str, dict[str, int | None]]:
        """Return steps and operations of the whole run with each other counting of epochs, by its override."""
        counted = {} if self.counts is None or self.needs is None else self.counts.otherwise
        return {
            override: {"steps": self._steps(steps), "operations": self._operations(steps)}
            for override, steps in counted.items()
        }

    def _steps(self, epoch: int) -> int | None:
        """Return the steps of the whole run with `epoch` steps an epoch."""
        trained = self.recipe.as_trained()
        if self.needs is None or trained is None:
            return None
        steps = trained.train.epochs * epoch
        return min(steps, trained.train.max_steps or steps)

    def _operations(self, epoch: int) -> int | None:
        """Return the operations of the whole run with `epoch` steps an epoch."""
        steps, trained = self._steps(epoch), self.recipe.as_trained()
        if steps is None or self.counts is None or self.needs is None or trained is None:
            return None
        first = min(steps, self.counts.light_epochs * epoch)
        counted = first * self.needs.supervised.operations + (steps - first) * self.needs.step.operations
        every = trained.train.evaluate_every
        evaluations = 1 + ((trained.train.epochs - 1) // every if every else 0)
        views = evaluations * self.counts.views
        if trained.keeps_best:
            views += -(-steps // self.counts.steps) * self.counts.validated
        return counted + views * self.needs.view.operations

    def lines(self, rate: float | None = None) -> list[str]:
        """Return lines on the run's folder, clips, networks' parts, and what must be made first.

        `rate` operations a second give the least time of other countings of epochs.
        """
        found = [f"Run: {self.run} ({self.state})"]
        if self.counts is not None and self.counts.clips:
            clips = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.clips.items())
            classes = f", {self.counts.classes} classes" if self.counts.classes else ""
            found.append(f"Clips: {clips}{classes}; {self.counts.steps:,} steps an epoch")
        found += [_otherwise(override, cost, rate) for override, cost in self.otherwise.items()]
        if self.counts is not None and self.counts.known_from:
            found.append(f"Clips: counted by {self.counts.known_from}; they are not there yet")
        if self.counts is None and self.needs is not None:
            step = _digits(self.needs.step.operations / TERA)
            found.append(f"Clips: their number is unknown, and so are steps and time; a step takes {step} TFLOP")
        if self.needs is not None:
            parts = (f"{name} {count / 10**6:,.2f} M" for name, count in self.needs.parameters.items())
            one = "" if self.counts is not None else " (a classifier of one class)"
            found.append(f"Parameters: {', '.join(parts)}{one}")
        if self.disk:
            found.append(f"Disk: about {size(self.disk)} will be written")
        return found + [f"First: {line}" for line in self.before] + [f"Missing: {line}" for line in self.missing]

    def data(self, rate: float | None) -> dict[str, object]:
        """Return the run as JSON data; `rate` operations a second give the least seconds."""
        found: dict[str, object] = {
            "recipe": self.recipe.model_dump(mode="json", exclude={"rows"}),
            "run": str(self.run),
            "state": self.state,
            "clips": self.counts.clips if self.counts else None,
            "clips_known_from": self.counts.known_from or "manifest" if self.counts else None,
            "missing": self.missing,
            "before": self.before,
        }
        if self.needs is None:
            return found
        seconds = self.operations / rate if self.operations is not None and rate else None
        return found | {
            "parameters": {**self.needs.parameters, "all": sum(self.needs.parameters.values())},
            "bytes": {
                "disk": self.disk,
                "states": self.needs.states,
                "step": self.needs.step.kept,
                "all": self.needs.memory,
            },
            "operations": {"step": self.needs.step.operations, "all": self.operations},
            "steps": self.steps,
            "otherwise": self.otherwise,
            "operations_per_second": rate,
            "least_seconds": seconds,
        }


def dry_runs(recipes: Sequence[Recipe], runs: Path, folder: Path) -> list[DryRun]:
    """Look at what `asgm train` would do with each of `recipes`; `folder` holds the recipes that they need.

    What is the same for several is read and counted once.
    """
    counting = Counting()
    known: dict[str, tuple[Needs | None, tuple[int, int]]] = {}
    found = []
    for recipe in recipes:
        missing = Missing(runs, folder, counting)
        counts = missing.look(recipe)
        classes = counts.classes if counts else 1
        key = f"{recipe.task} {classes} {recipe.size_key()}"
        if key not in known:
            known[key] = needs(recipe, classes), training_files(recipe)
        network, files = known[key]
        run = run_of(recipe, runs)
        state = "finished" if run.result() is not None else "begun" if run.recipe_path.exists() else "not begun"
        taken = room_for(recipe, runs, files)
        lines = [*missing.lines, *(line.replace("\n", " ") for line in lacking(taken))]
        disk = sum(item.bytes for item in taken)
        found.append(DryRun(recipe, run.folder, state, network, counts, lines, missing.before, disk))
    return found


def rates(runs: Sequence[DryRun], device: torch.device) -> list[float | None]:
    """Measure for each run the rate of `device` at its networks' width and precision, once for each pair."""
    found: dict[tuple[int, str], float] = {}
    answer: list[float | None] = []
    for run in runs:
        trained = run.recipe.as_trained()
        if run.needs is None or trained is None:
            answer.append(None)
            continue
        key = (run.needs.width, trained.train.precision)
        if key not in found:
            found[key] = product_rate(device, trained.train, run.needs.width)
        answer.append(found[key])
    return answer


def dry_table(runs: Sequence[DryRun], measured: Sequence[float | None]) -> Table:
    """Return a table with one line a run."""
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


def _otherwise(override: str, cost: Mapping[str, int | None], rate: float | None) -> str:
    steps, operations = cost["steps"] or 0, cost["operations"] or 0
    time = f", {_duration(operations / rate)}" if rate else ""
    return f"Epochs: --set {override} would take {steps:,} steps in all, {_digits(operations / TERA)} TFLOP{time}"


def _shown(measured: Sequence[float | None]) -> str:
    found = dict.fromkeys(_digits(rate / GIGA) for rate in sorted(rate for rate in measured if rate))
    return f"{' and '.join(found)} GFLOP/s " if found else ""


def _digits(value: float) -> str:
    """Format with three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86400:,.0f} days"
