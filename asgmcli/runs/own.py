"""From a folder of clips to a recipe: what was found, what a task proposes for it, and how long it may take."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

import torch

from asgmcli.data.manifest import Manifest
from asgmcli.errors import DataError, UsageError
from asgmcli.files import write_text
from asgmcli.prepare.source import open_manifest
from asgmcli.progress import spoken_time
from asgmcli.ranks.device import synchronize
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import dump_values, load_recipe
from asgmcli.recipe.shipped import find_beside
from asgmcli.runs.session import Session, other_recipes
from asgmcli.runs.shares import makespan
from asgmcli.tasks import TASKS
from asgmcli.train.batches import move
from asgmcli.train.gradients import compute_gradients
from asgmcli.train.propose import Machine, OwnClips, Proposal, Proposes, Wish
from asgmcli.train.run import Run, differences, run_of
from asgmcli.train.schedule import make_optimizer
from asgmcli.train.task import Context
from asgmcli.workers import cores

RECIPE = "recipe.yaml"
"""In the folder of the runs: to be edited and run again."""
SHARES = (("train", 0.8), ("test", 0.2))
"""Splits of clips that have none of their own."""
TIMED = 3
"""Steps that are timed."""
FEWEST = 0.25
"""Share of the proposed epochs below which a smaller size is taken."""
KEPT = 0.9
"""Share of a budget that is planned for: steps are left out where that is not enough, which is worse than fewer."""
SPARED = 0.05
"""Share of a budget that the runs leave to what comes after them, beyond what that is expected to take."""
FEWEST_EPOCHS = 2
"""Epochs that a budget must leave."""
STARTED = 0.5
"""Share of the rows' time above which what the start took is told."""
VIEWS_A_STEP = 4
"""Views of an evaluation, its verdict and its page that take as long as a step."""


def found_clips(manifest: Manifest, name: str) -> OwnClips:
    """Return what a task must know of prepared clips.

    Raises:
        DataError: nothing to learn from, or nothing to judge on.
    """
    train, test = manifest.of_split("train"), [row for row in manifest.of_split("test") if row.label]
    labels = Counter(row.label for row in train if row.label)
    if len(labels) < 2:
        raise DataError(
            f"{manifest.path}: labelled training clips of {len(labels)} class(es). Put clips of two classes or more "
            "into folders named after them, or name their labels in a CSV (path,label)."
        )
    if not test:
        raise DataError(f"{manifest.path}: no labelled clip is left to judge on. Label more clips: a fifth is kept.")
    return OwnClips(
        name=name,
        manifest=manifest.path,
        labels=dict(labels),
        unlabeled=sum(not row.label for row in train),
        tested=len(test),
        seconds=median(row.duration for row in train),
        fps=median(row.fps for row in train),
        short_side=round(median(min(row.width, row.height) for row in train)),
        heard=sum(bool(row.audio) for row in train) / len(train),
    )


def this_machine(device: torch.device) -> Machine:
    """Return what a proposal must know of the device."""
    memory = torch.cuda.get_device_properties(device).total_memory / 1e9 if device.type == "cuda" else 0.0
    return Machine(device.type, memory, cores())


def sizes() -> list[str]:
    """Return the names of all sizes that a task proposes."""
    return [size for task in TASKS.values() if isinstance(task, Proposes) for size in task.SIZES]


def proposal_for(clips: OwnClips, manifest: Manifest, machine: Machine, wish: Wish) -> Proposal:
    """Return the recipe of the first task that can learn from the clips.

    Raises:
        UsageError: the wish cannot be followed. DataError: no task can.
    """
    for task in TASKS.values():
        if isinstance(task, Proposes) and (found := task.propose(clips, manifest, machine, wish)) is not None:
            return found
    raise DataError(f"{clips.manifest}: no task learns from such clips by itself. `asgm recipes` lists what there is.")


def reused(recipe: Recipe, session: Session) -> list[Path]:
    """Copy finished runs that `recipe` starts from out of other folders of runs here; return where they were.

    Only a run with the very settings of today's recipe is taken.
    """
    found = []
    for source in other_recipes(recipe):
        needed = load_recipe(find_beside(session.recipes, str(source.recipe)), source.row, seed=source.seed)
        own = run_of(needed, session.runs)
        if own.folder.exists():
            continue
        inner = own.folder.relative_to(session.runs)
        for result in sorted(Path().glob(f"*/{inner}/result.json")):
            other = Run(result.parent)
            if other.result() is not None and not differences(other.recipe(), needed):
                part = own.folder.with_name(f".{own.folder.name}.part")  # half a copy must not look finished
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(other.folder, part, ignore=shutil.ignore_patterns("checkpoints"))
                part.rename(own.folder)
                found.append(other.folder)
                break
    return found


def write_recipe(proposal: Proposal, path: Path) -> None:
    """Write the proposed recipe as YAML that can be edited and run again.

    Raises:
        DataError: the file cannot be written.
    """
    head = f"# Proposed by `asgm train` for these clips (size {proposal.size}). Edit it, and run it again:\n"
    write_text(path, f"{head}#   asgm train {path} --row all\n{dump_values(proposal.recipe)}")


@dataclass(frozen=True)
class Plan:
    """The time that the rows of a recipe are expected to take.

    Attributes:
        seconds: of all rows, side by side where there are cores, with their judgement.
        epochs: that the recipe has now.
        proposed: that it had before a budget.
        rows: seconds of a run of each row.
        after: seconds of the verdict and the report.
        whole: seconds that `proposed` epochs would take.
        start: seconds that were spent on a start that was not there; it is kept.
    """

    seconds: float
    epochs: int
    proposed: int
    rows: Mapping[str, float] = field(default_factory=dict)
    after: float = 0.0
    whole: float = 0.0
    start: float = 0.0


@dataclass(frozen=True)
class RowCost:
    """Measured seconds of a row: a step of its first epochs, one of its last, those before and after all steps, and
    those of its part in the verdict."""

    light: float
    full: float
    around: float
    steps: int
    verdict: float = 0.0

    def seconds(self, epochs: int, light_epochs: int) -> float:
        """Return the seconds of so many epochs, the first `light_epochs` of them of light steps."""
        light = min(light_epochs, epochs)
        return self.around + self.steps * (light * self.light + (epochs - light) * self.full)


def planned(
    path: Path,
    again: Callable[[int], Proposal],
    rows: Sequence[str],
    context: Context,
    budget: float | None,
    parallel: int,
    seeds: int = 1,
) -> Plan:
    """Measure steps of each row of the recipe in `path`; under a budget in seconds write the proposal of fewer epochs.

    Args:
        path: of the proposed recipe.
        again: returns the proposal of so many epochs.
        rows: that are trained.
        context: of the training.
        budget: seconds that are left for all, None for as long as it takes.
        parallel: runs that are trained side by side.
        seeds: runs of each row.

    Raises:
        UsageError: not even two epochs fit.
    """
    recipe = load_recipe(path).as_trained()
    assert recipe is not None  # proposals are of tasks that train
    costs = [row_cost(load_recipe(path, row), context) for row in rows]
    epochs, light = recipe.train.epochs, getattr(recipe.train, "supervised_epochs", 0)
    launch = 0.0 if budget is None else launch_seconds(path, rows[0])

    after = launch + sum(cost.verdict for cost in costs) * seeds

    def each(count: int) -> dict[str, float]:
        found = (launch + cost.seconds(count, light * count // epochs) for cost in costs)
        return dict(zip(rows, found, strict=True))

    def of(count: int) -> float:
        return makespan(list(each(count).values()) * seeds, parallel) + after

    if budget is None or of(epochs) <= KEPT * budget:
        return Plan(of(epochs), epochs, epochs, each(epochs), after, of(epochs))
    fits = bisect_right(range(epochs + 1), KEPT * budget, lo=FEWEST_EPOCHS, key=of) - 1
    if fits < FEWEST_EPOCHS:
        least = spoken_time(of(FEWEST_EPOCHS))
        raise UsageError(
            f"--budget: {spoken_time(max(budget, 0.0))} left are too short: {FEWEST_EPOCHS} epochs take about {least}. "
            "Give more, or a smaller --size."
        )
    write_recipe(again(fits), path)
    return Plan(of(fits), fits, epochs, each(fits), after, of(epochs))


def launch_seconds(path: Path, row: str) -> float:
    """Measure how long a row's process takes until it begins: that of a dry run, to its end."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "asgmcli", "train", str(path), "--row", row, "--dry-run"]
    subprocess.run(command, check=False, capture_output=True)
    return time.perf_counter() - begun


def row_cost(recipe: Recipe, context: Context) -> RowCost:
    """Measure the steps of a recipe's row on its own clips.

    The same batches are read twice, and the second time counts: clips that a run keeps in memory are decoded once.
    """
    trained = recipe.as_trained()
    assert trained is not None  # proposals are of tasks that train
    begun = time.perf_counter()
    task = TASKS[trained.task]
    data = task.build_data(trained)
    state = task.build_state(trained, data, context)
    optimizer = make_optimizer(state.trained(), trained.train.optimizer)
    counts = task.count(trained, open_manifest)

    def step_seconds(epoch: int) -> float:
        each = 0.0
        for _ in range(2):
            since, steps = time.perf_counter(), 0
            for batch in islice(data.epoch(epoch), TIMED):
                state.begin_step(epoch, steps)
                compute_gradients(task.train_step, state, move(batch, context.device), optimizer, trained.train)
                optimizer.step()
                state.after_step()
                steps += 1
            synchronize(context.device)
            each = (time.perf_counter() - since) / max(steps, 1)
        return each

    last = trained.train.epochs - 1
    full = step_seconds(last)
    start = time.perf_counter() - begun
    light = step_seconds(0) if counts.light_epochs else full
    judged = counts.views * full / VIEWS_A_STEP
    return RowCost(light, full, start + judged / 2, counts.steps, judged / 2)


def words(
    clips: OwnClips, proposal: Proposal, plan: Plan | None, rows: Sequence[str], device: torch.device
) -> list[str]:
    """Return what was found and what will be done, in fewer than 15 lines."""
    few, many = min(clips.labels.values()), max(clips.labels.values())
    each = f"{few}" if few == many else f"{few} to {many}"
    found = [
        f"Found: {clips.labeled} labelled clips of {len(clips.labels)} classes ({each} each) and {clips.unlabeled} "
        f"without a label to train on, {clips.tested} to judge on.",
        f"Clips: {clips.seconds:.1f} s at {clips.fps:.0f} frames a second, {clips.short_side} pixels (medians); "
        f"{clips.heard:.0%} have sound.",
        f"Networks: size {proposal.size}, start: {proposal.start}, on {device.type}.",
        f"Trained: {'; '.join(rows)}.",
    ]
    if plan is not None:
        short = plan.epochs < plan.proposed
        less = f" of the {plan.proposed} proposed, which take {spoken_time(plan.whole)}" if short else ""
        found.append(f"Time: {plan.epochs} epochs{less}, about {spoken_time(plan.seconds)} for all rows.")
        if short and plan.start > STARTED * plan.seconds:
            found.append(
                f"The start took {spoken_time(plan.start)} of the budget. It is kept: the same command with "
                "--overwrite spends that time on your clips."
            )
    if clips.unlabeled == 0:
        found.append("No clip is unlabelled: the labelled ones serve as unlabelled ones too, without their labels.")
    if clips.heard < 0.5:
        found.append("Most clips are silent: what sound could tell is missing.")
    return found
