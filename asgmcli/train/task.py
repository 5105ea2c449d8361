"""What a task is to whatever drives it: its data, its state, its step, and what its evaluation found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from asgmcli.data.loader import Batch
from asgmcli.errors import DataError
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.sections import Guide, Start
from asgmcli.report.table import Table
from asgmcli.train.run import run_of


@dataclass
class Evaluation:
    """What an evaluation found: numbers, tables, and figures as functions that draw into a path."""

    metrics: dict[str, float]
    tables: dict[str, Table] = field(default_factory=dict)
    figures: dict[str, Callable[[Path], Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a task needs to know besides its recipe: the device, the folder of earlier runs, the folder of recipes."""

    device: torch.device
    runs: Path
    recipes: Path = Path("recipes")

    def weights_of(self, source: Start | Guide | None, name: str) -> Path | None:
        """The weight file that `source` names; `name` is the file in the run of another recipe (its default row).

        None where there is no source or it names a timm model.

        Raises:
            DataError: the file is missing, or the other recipe has no finished run.
            RecipeError: the other recipe cannot be read.
        """
        if source is None:
            return None
        if source.file is not None:
            path = Path(source.file)
            if not path.exists():
                raise DataError(f"{path}: no such weight file")
            return path
        if source.recipe is None:
            return None
        other = self.recipes / f"{source.recipe}.yaml"
        run = run_of(load_recipe(other, seed=source.seed), self.runs)
        if run.result() is None or not (run.folder / name).exists():
            seed = "" if source.seed is None else f" --seed {source.seed}"
            raise DataError(f"{run.folder}: no finished run with {name} here. Make it: asgm train {other}{seed}")
        return run.folder / name


class TrainData(Protocol):
    """An epoch's batches, and what the final evaluation reads."""

    @property
    def steps(self) -> int:
        """Steps an epoch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of epoch `number` from step `start` on."""

    @property
    def evaluation(self) -> Iterable[Batch]:
        """Batches of the evaluation split."""

    def summary(self) -> dict[str, Any]:
        """What the result says of the data: its hash, counts."""


class TrainState(Protocol):
    """What trains and what is saved."""

    def trained(self) -> list[nn.Module]:
        """Modules whose parameters the optimizer steps."""

    def begin_step(self, epoch: int, step: int) -> None:
        """Told before each step; `step` counts over the whole run."""

    def after_step(self) -> None:
        """Called after each optimizer step (the teacher's average)."""

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""

    def export(self, folder: Path) -> None:
        """Write the final weights."""


class Task(Protocol):
    """A task module's four functions."""

    def build_data(self, recipe: Any) -> Any:
        """Loaders."""

    def build_state(self, recipe: Any, data: Any, context: Context) -> Any:
        """Networks, teacher, thresholds."""

    def train_step(self, state: Any, batch: Batch) -> dict[str, Tensor]:
        """Scalar terms with "loss"."""

    def evaluate(self, state: Any, loader: Iterable[Batch]) -> Evaluation:
        """Metrics, tables, figures."""
