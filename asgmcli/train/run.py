"""A run's folder: runs/<recipe>/<row>/seed<k>/, and what lies in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from asgmcli.errors import DataError, UsageError
from asgmcli.files import write_text
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import DESCRIPTIVE_KEYS, MACHINE_KEYS, dump_yaml, load_recipe, recipe_hash
from asgmcli.train.environment import environment

BY_HAND = ("next.csv", "next.html")
"""Files of a run's folder that stay when it is begun anew: a list of clips with the labels that a person filled in."""


class _Named(TypedDict):
    recipe: str
    row: str
    seed: int
    metrics: dict[str, float]


class Result(_Named, total=False):
    """The content of a run's result.json; `same_as` names the folder of another row's run that counts for this row."""

    task: str
    data: dict[str, object]
    warnings: list[str]
    warning: str | None
    notes: list[str]
    failures: list[str]
    steps: int
    kept: dict[str, object]
    clips_per_second: float
    seconds: float
    same_as: str


@dataclass(frozen=True)
class Run:
    """The folder of one recipe, row and seed."""

    folder: Path

    @property
    def recipe_path(self) -> Path:
        """Return the path of the resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def log(self) -> Path:
        """Return the path of the run's output, if it was one of several at once."""
        return self.folder.parent / f"{self.folder.name}.log"

    @property
    def metrics_path(self) -> Path:
        """Return the path of metrics.jsonl: one JSON object a logged step or evaluation."""
        return self.folder / "metrics.jsonl"

    @property
    def state_path(self) -> Path:
        """Return the path of the newest training state."""
        return self.folder / "checkpoints" / "last.pt"

    @property
    def result_path(self) -> Path:
        """Return the path of result.json, which exists once the run is finished."""
        return self.folder / "result.json"

    def result(self) -> Result | None:
        """Return the finished run's result, or None."""
        try:
            result: Result = json.loads(self.result_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise DataError(f"{self.result_path}: not valid JSON; delete it and run again with --resume") from None
        return result

    def recipe(self) -> Recipe:
        """Return the recipe this run was started with.

        Raises:
            RecipeError: it is missing, or no longer valid.
        """
        return load_recipe(self.recipe_path, stored=True)

    def check(self, recipe: Recipe, *, resume: bool, overwrite: bool) -> None:
        """Check that `recipe` may be run in this folder, and touch nothing.

        Raises:
            UsageError: a run is here already and neither --resume nor --overwrite was given, or --resume was and the
                run was made with other settings; or --overwrite was given and this is no run.
        """
        if overwrite:
            if self.folder.exists() and not self._is_run():
                raise UsageError(f"{self.folder}: does not look like a run; not removed. Move it away yourself.")
            return
        if not self.recipe_path.exists():
            if self.result_path.exists() or self.state_path.exists():
                raise UsageError(f"{self.folder}: parts of a run without its recipe.yaml. Add --overwrite to redo it.")
            return
        if not resume:
            raise UsageError(f"{self.folder}: there is a run here already. Add --resume to go on, --overwrite to redo.")
        stored = self.recipe()
        if recipe_hash(stored) != recipe_hash(recipe):
            raise UsageError(
                f"{self.folder}: the run here was made with other settings: {'; '.join(differences(stored, recipe))}. "
                "Resume with the same settings, or add --overwrite to redo it."
            )

    def prepare(self, recipe: Recipe, *, resume: bool, overwrite: bool) -> None:
        """Make the folder ready for `recipe`: an earlier run is kept to be resumed, or removed to be overwritten.

        Raises:
            UsageError: see `check`.
        """
        self.check(recipe, resume=resume, overwrite=overwrite)
        if overwrite and self.folder.exists():
            self._clear()
        if not self.recipe_path.exists():
            write_text(self.folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
            write_text(self.recipe_path, dump_yaml(recipe))

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name not in BY_HAND:
                path.unlink()

    def _is_run(self) -> bool:
        known = {"recipe.yaml", "environment.json", "metrics.jsonl", "checkpoints", "result.json", "status.json"}
        known |= {*BY_HAND}
        return self.recipe_path.exists() or known.issuperset(path.name for path in self.folder.iterdir())


def run_of(recipe: Recipe, runs: Path) -> Run:
    """Return the run of `recipe` (its row is `default_row`) under the folder `runs`."""
    return Run(runs / recipe.name / recipe.default_row / f"seed{recipe.seed}")


def differences(stored: Recipe, given: Recipe) -> list[str]:
    """Return `key: stored value, now given value` for each differing key that affects results, see `recipe_hash`."""
    return _differences(stored.model_dump(mode="json"), given.model_dump(mode="json"))


def _differences(stored: dict[str, object], given: dict[str, object], prefix: str = "") -> list[str]:
    lines = []
    for key in sorted(stored.keys() | given.keys()):
        if (not prefix and key in DESCRIPTIVE_KEYS) or key in MACHINE_KEYS.get(prefix.removesuffix("."), ()):
            continue
        old, new = stored.get(key), given.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: stored {old!r}, now {new!r}")
    return lines
