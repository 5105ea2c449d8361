"""Resolve a path given by a user: a run, its weights, or a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from asgmcli.errors import DataError, UsageError
from asgmcli.recipe.answers import with_changes
from asgmcli.recipe.shipped import shipped
from asgmcli.tasks import DRAWERS, TASKS
from asgmcli.train.run import Run
from asgmcli.train.task import NeedsWeights, Trained

RECIPE_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Found:
    """A trained network on disk: its task, its weight file, and the run around it if there is one."""

    task: str
    weights: Path
    run: Run | None

    @property
    def warnings(self) -> list[str]:
        """Return the warnings of the training that made the weights."""
        result = self.run.result() if self.run is not None else None
        return [] if result is None else list(result.get("warnings", ()))

    @property
    def evaluated_on(self) -> tuple[object, object]:
        """Return the manifest's hash and the split that the run's own result is of; (None, None) without a run."""
        result = self.run.result() if self.run is not None else None
        own = {} if result is None else result.get("data", {})
        return own.get("eval_manifest", own.get("manifest")), own.get("eval_split")

    def load(
        self, device: torch.device, changes: tuple[str, ...] = (), weights: Mapping[str, Path] | None = None
    ) -> Trained:
        """Load the network.

        Args:
            device: where it computes.
            changes: `key.path=value` strings for the sections `evaluate` and `predict` of its recipe.
            weights: files of other networks that it needs, by name.

        Raises:
            DataError: a file is broken or not of this task.
            RecipeError: `changes` has an impossible key. UsageError: it needs no other networks.
        """
        recipe = self.run.recipe() if self.run is not None else None
        known = recipe if recipe is not None and recipe.task == self.task else None
        trained: Trained = TASKS[self.task].load(self.weights, known, device)
        if changes:
            trained = replace(trained, recipe=with_changes(trained.recipe, changes))  # type: ignore[type-var]
        if not weights:
            return trained
        if not isinstance(trained, NeedsWeights):
            raise UsageError(f"--weights {next(iter(weights))}: a {self.task} network needs no other network's weights")
        return trained.with_weights(weights)


def is_recipe(path: Path) -> bool:
    """Return True if `path` is to be read as a recipe."""
    return path.suffix.lower() in RECIPE_SUFFIXES and not path.is_dir()


def find_trained(path: Path) -> Found:
    """Find the network that `path` names: the folder of a finished run, or a weight file.

    Raises:
        DataError: nothing is there, it is neither, or the run is not finished.
        UsageError: the run's task leaves no network.
    """
    if path.is_dir():
        return _of_run(path)
    if not path.exists():
        beside = {item.name: str(item) for item in sorted(path.parent.iterdir())} if path.parent.is_dir() else {}
        named = {name: name for name in shipped()} if path.name == str(path) else {}
        choices = named | beside
        close = difflib.get_close_matches(path.name, choices, n=1, cutoff=0.5)
        hint = f" (did you mean {choices[close[0]]}?)" if close else ""
        raise DataError(f"{path}: there is no such run, weight file or recipe{hint}")
    if path.parent.name == "checkpoints" and Run(path.parent.parent).recipe_path.exists():
        raise DataError(f"{path}: a training state, not weights to use. Name its run: {path.parent.parent}")
    run = Run(path.parent)
    around = run if run.recipe_path.exists() else None
    for name, task in TASKS.items():
        if task.owns(path):
            return Found(name, path, around)
    files = ", ".join(task.WEIGHTS for task in TASKS.values() if task.WEIGHTS)
    raise DataError(
        f"{path}: no network that asgm knows. Name the folder of a run, a weight file of one ({files}), or a released "
        "file of FNAC, TPAVI, AVSegFormer, HAN or a parser after it."
    )


def _of_run(folder: Path) -> Found:
    run = Run(folder)
    if not run.recipe_path.exists():
        inside = sorted(path.parent for path in folder.glob("**/seed*/result.json"))
        hint = f" Runs in it: {', '.join(map(str, inside[:3]))}{', ...' if len(inside) > 3 else ''}" if inside else ""
        raise DataError(f"{folder}: not a run, there is no recipe.yaml in it.{hint}")
    recipe = run.recipe()
    if run.result() is None:
        state = "stopped before its end" if run.state_path.exists() else "saved nothing yet"
        raise DataError(f"{folder}: the run is not finished ({state}). Go on with it: asgm train RECIPE --resume")
    if recipe.task in DRAWERS:
        picture = folder / DRAWERS[recipe.task].PICTURES[0]
        raise UsageError(f"{folder}: this run drew a figure ({picture}); there is no network to evaluate.")
    name = TASKS[recipe.task].WEIGHTS
    if not name:
        raise UsageError(
            f"{folder}: a {recipe.task} run is a start for other runs; what it learnt is in {run.result_path}"
        )
    if not (folder / name).exists():
        raise DataError(f"{folder / name}: the run's weights are gone. Train it again with --overwrite.")
    return Found(recipe.task, folder / name, run)
