"""What a task is to whatever drives it: its data, its state, its step, and what its evaluation found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from rich.console import Console
from torch import Tensor, nn

from asgmcli.data.loader import Batch
from asgmcli.data.manifest import Manifest
from asgmcli.errors import DataError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.sections import Guide, Start, TrainingData
from asgmcli.recipe.shipped import find_beside, spoken
from asgmcli.report.table import Cell, Table
from asgmcli.train.cost import Counts, Decoded, Needs, Open, SizeOf
from asgmcli.train.run import Run, run_of

R = TypeVar("R", bound=Recipe, contravariant=True)
D = TypeVar("D")
S = TypeVar("S")


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
        other = find_beside(self.recipes, source.recipe)
        run = run_of(load_recipe(other, seed=source.seed), self.runs)
        if run.result() is None or not (run.folder / name).exists():
            make = f"asgm train {spoken(other)}" + ("" if source.seed is None else f" --seed {source.seed}")
            raise DataError(f"{run.folder}: no finished run with {name} here. Make it: {make}")
        return run.folder / name


class TrainData(Protocol):
    """An epoch's batches, and what the final evaluation reads.

    Data may have `notes`, a list of sentences that the user is told at the start and that result.json holds.
    """

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
    """What trains and what is saved. One that is `Watched` (train/health.py) warns of a training that goes wrong."""

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


@dataclass(frozen=True)
class Examination:
    """A trained network's evaluation on a manifest, checked and ready to run.

    Attributes:
        count: clips or frames to look at.
        about: what is looked at, as a line for people.
        views: settings of the evaluation that decide its numbers.
        warnings: what a reader of the numbers must know.
        run: does the work: takes a function that is told how many more are done, and the paper's numbers by metric;
            gives what was found, and a line a clip or frame. Where several ranks share the work the first has the
            findings, the others an `Evaluation` of nothing.
    """

    count: int
    about: str
    views: dict[str, int]
    run: Callable[[Callable[[int], None], Mapping[str, float]], tuple[Evaluation, Table]]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Prediction:
    """A trained network's answer about one file.

    Attributes:
        answer: what `asgmcli.load(run).predict(path)` returns.
        rows: lines of a CSV file under the network's `columns`, the most important first.
        data: the answer as JSON.
    """

    answer: Any
    rows: list[list[Cell]]
    data: dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """A file for other programs: its inputs by name with their shapes, and how far its output is from torch's."""

    path: Path
    inputs: dict[str, list[str | int]]
    difference: float
    bytes: int


class Trained(Protocol):
    """A trained network, and the recipe that says how it is judged."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what stands in the lines of a prediction."""

    @property
    def recipe(self) -> Recipe:
        """The recipe it was trained with; its evaluation's keys may be replaced."""

    @property
    def data(self) -> TrainingData:
        """The data set that it is judged on."""

    def examine(self, manifest: Manifest, beside: str | None = None) -> Examination:
        """Check that it can be judged on the recipe's evaluation split of `manifest`.

        Args:
            manifest: whose clips are looked at.
            beside: the name of something that is measured on the same clips too.

        Raises:
            DataError: it cannot be judged there.
            UsageError: `beside` is nothing that this task measures.
        """

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        """Answer about one file; `audio` is the file of its sound, where that lies apart.

        Raises:
            MediaError: the file cannot be read.
        """

    def export(self, path: Path) -> Exported:
        """Write the network for programs without torch, whole or not at all.

        Raises:
            UsageError: networks of this task are not exported.
        """


class Task(Protocol[R, D, S]):
    """A task's module: what it needs, trains, measures and answers, for recipes R, data D and state S."""

    WEIGHTS: str
    """The file in a run's folder that holds the trained network; "" where it is of no use by itself."""

    def owns(self, path: Path) -> bool:
        """Return True if a weight file is of this task, its run being unknown."""

    def before(self, recipe: R, console: Console) -> None:
        """Make what must be there before training besides data and other runs, such as maps or features."""

    COPIES: int
    """Networks of its size in a checkpoint: 2 with a teacher."""

    def count(self, recipe: R, open_: Open) -> Counts:
        """Count clips and steps from the manifests alone.

        Raises:
            DataError: there is no manifest, or too few clips of a kind.
        """

    def expected(self, recipe: R, size_of: SizeOf) -> Counts | None:
        """Return the counts that there will be before the data are there, None where nothing tells them."""

    def needs(self, recipe: R, classes: int) -> Needs:
        """Count parameters, memory and operations on torch's meta device."""

    def network(self, recipe: R, classes: int) -> nn.Module:
        """Return the network that is trained, on torch's default device."""

    def decoded(self, recipe: R) -> Decoded | None:
        """Return what of the clips the run keeps decoded on disk."""

    def build_data(self, recipe: R) -> D:
        """Open the data and see that they suit the recipe."""

    def build_state(self, recipe: R, data: D, context: Context) -> S:
        """Build networks, teacher, thresholds."""

    def train_step(self, state: S, batch: Batch) -> dict[str, Tensor]:
        """Return scalar terms with "loss"."""

    def evaluate(self, state: S, loader: Iterable[Batch]) -> Evaluation:
        """Return metrics, tables, figures."""

    def load(self, path: Path, recipe: R | None, device: torch.device) -> Trained:
        """Load a trained network; `recipe` is its run's, where there is one."""


def nothing_before(recipe: Any, console: Console) -> None:
    """Make nothing: for tasks that need no more than data and other runs."""


class Work(Protocol):
    """A run made ready."""

    def fit(self) -> dict[str, Any]:
        """Do the work and write result.json; return its content."""


@runtime_checkable
class Drawer(Protocol):
    """The module of a task that draws instead of training."""

    PICTURES: tuple[str, ...]
    """Files that a run leaves in its folder."""

    def check(self, recipe: Any) -> object:
        """See that the data suit the recipe."""

    def draw(self, recipe: Any, run: Run, context: Context) -> Work:
        """Make the drawing ready."""
