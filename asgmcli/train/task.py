"""The contract between a task and the code that runs it: data, state, step, evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from rich.console import Console
from torch import Tensor, nn

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError, MediaError, UsageError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.sections import Guide, OwnStart, SplitData
from asgmcli.recipe.shipped import find_beside, spoken
from asgmcli.report.table import Cell, Table
from asgmcli.train.batches import TrainBatch
from asgmcli.train.checkpoint import State
from asgmcli.train.cost import Counts, Decoded, Needs, Open, SizeOf
from asgmcli.train.run import Result, Run, run_of

R = TypeVar("R", bound=Recipe, contravariant=True)
D = TypeVar("D")
S = TypeVar("S")
B_co = TypeVar("B_co", bound=TrainBatch, covariant=True)
B_contra = TypeVar("B_contra", bound=TrainBatch, contravariant=True)
E_co = TypeVar("E_co", covariant=True)
E_contra = TypeVar("E_contra", contravariant=True)


@dataclass
class Evaluation:
    """The result of an evaluation: numbers, tables, and figures as functions that draw into a path."""

    metrics: dict[str, float]
    tables: dict[str, Table] = field(default_factory=dict)
    figures: dict[str, Callable[[Path], object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """A task's surroundings besides its recipe: the device, the folder of earlier runs, the folder of recipes."""

    device: torch.device
    runs: Path
    recipes: Path = Path("recipes")

    def weights_of(self, source: OwnStart | Guide | None, name: str) -> Path | None:
        """Return the weight file that `source` names; `name` is the file in the run of another recipe (its default
        row).

        None if there is no source or it names a timm model.

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
        run = run_of(load_recipe(other, source.row, seed=source.seed), self.runs)
        if run.result() is None or not (run.folder / name).exists():
            make = f"asgm train {spoken(other)}" + ("" if source.row is None else f" --row {source.row}")
            make += "" if source.seed is None else f" --seed {source.seed}"
            raise DataError(f"{run.folder}: no finished run with {name} here. Make it: {make}")
        return run.folder / name


class TrainData(Protocol[B_co, E_co]):
    """An epoch's batches B, and those E that the final evaluation reads.

    Data may have `notes`, a list of sentences shown at the start and stored in result.json, and `validation`: batches
    of the split by which `train.keep: best` tells the best epoch, None where there is no such split.
    """

    @property
    def steps(self) -> int:
        """Return the steps an epoch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[B_co]:
        """Yield the batches of epoch `number` from step `start` on."""

    @property
    def evaluation(self) -> Iterable[E_co]:
        """Return the batches of the evaluation split."""

    def summary(self) -> dict[str, object]:
        """Return the data's entry in the result: its hash, counts."""


class TrainState(Protocol):
    """The part of a run that trains and is saved. If it is `Watched` (train/health.py), a failing training gets a
    warning.
    """

    def trained(self) -> list[nn.Module]:
        """Return the modules whose parameters the optimizer steps."""

    def begin_step(self, epoch: int, step: int) -> None:
        """Prepare for a step; `step` counts over the whole run."""

    def after_step(self) -> None:
        """Update what follows each optimizer step (the teacher's average)."""

    def state_dict(self) -> State:
        """Return everything but the optimizer."""

    def load_state_dict(self, state: State) -> None:
        """Restore the state that `state_dict` returned."""

    def export(self, folder: Path) -> None:
        """Write the final weights."""


@dataclass(frozen=True)
class Examination:
    """A trained network's evaluation on a manifest, checked and ready to run.

    Attributes:
        count: clips or frames to evaluate.
        about: one line for people on what is evaluated.
        views: settings of the evaluation that affect its numbers.
        warnings: what a reader of the numbers must know.
        run: the evaluation itself. Takes a callback for the number of items newly done, and the paper's numbers by
            metric; returns the findings, and a line a clip or frame. With several ranks the first returns the findings,
            the others an empty `Evaluation`.
    """

    count: int
    about: str
    views: dict[str, int]
    run: Callable[[Callable[[int], None], Mapping[str, float]], tuple[Evaluation, Table]]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Prediction:
    """A trained network's answer for one file.

    Attributes:
        answer: what `asgmcli.load(run).predict(path)` returns.
        rows: lines of a CSV file under the network's `columns`, the most important first.
        data: the answer as JSON.
        files: what can be written of it (a picture, an overlay, captions): by the ending that follows the clip's name,
            such as `_timeline.png`, a function that writes the file atomically.
    """

    answer: Any
    rows: list[list[Cell]]
    data: dict[str, object]
    files: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """A file for other programs: its inputs by name with their shapes, and its output's deviation from torch's."""

    path: Path
    inputs: dict[str, list[str | int]]
    difference: float
    bytes: int


class Trained(Protocol):
    """A trained network, and the recipe that defines its evaluation."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the column names of a prediction's lines."""

    @property
    def recipe(self) -> Recipe:
        """Return the recipe it was trained with; its evaluation keys may be replaced."""

    @property
    def data(self) -> SplitData:
        """Return the data set for its evaluation."""

    def examine(self, manifest: Manifest, beside: str | None = None) -> Examination:
        """Check that it can be evaluated on the recipe's evaluation split of `manifest`.

        Args:
            manifest: the clips to evaluate on.
            beside: the name of a baseline measured on the same clips.

        Raises:
            DataError: it cannot be evaluated there.
            UsageError: this task has no such baseline.
        """

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        """Predict for one file; `audio` is the file of its sound, if that is a separate one.

        Raises:
            MediaError: the file cannot be read.
        """

    def export(self, path: Path) -> Exported:
        """Write the network for programs without torch, atomically.

        Raises:
            UsageError: networks of this task cannot be exported.
        """


@runtime_checkable
class AnswersTogether(Protocol):
    """A trained network that is quicker for several files at once than for one after the other."""

    @property
    def together(self) -> int:
        """Return how many files are worth asking about at once, by default."""

    def predict_many(self, clips: Sequence[tuple[Path, Path | None]]) -> list[Prediction | MediaError]:
        """Predict for files, each with that of its sound if it is a separate one: as `predict`, in their order.

        A file that cannot be read has the error in its place.
        """


@runtime_checkable
class AnswersRows(Protocol):
    """A trained network whose clips a data set stores in parts of their own: frames, flow, sound."""

    def predict_row(self, manifest: Manifest, row: ManifestRow) -> Prediction:
        """Predict for a clip of `manifest` as its evaluation does.

        Raises:
            AsgmError: the data set does not suit the network, or a file of the clip cannot be read.
        """


@runtime_checkable
class NeedsWeights(Protocol):
    """A trained network that answers with the help of other networks, whose weight files a user may name."""

    def with_weights(self, files: Mapping[str, Path]) -> Trained:
        """Return it with the weight files of other networks by their names, such as `vggish`.

        Raises:
            UsageError: it needs no network of such a name.
            DataError: a file is missing or of another network.
        """


class Task(Protocol[R, D, S, B_contra, E_contra]):
    """A task's module: what it needs, trains, measures and answers, for recipes R, data D and state S.

    Its step takes batches B, its evaluation batches E: dataclasses of the task's own (see `data.loader`).
    """

    WEIGHTS: str
    """File of a run's folder with the trained network; "" if it is of no use by itself."""

    def owns(self, path: Path) -> bool:
        """Return True if a weight file without a run is of this task."""

    def before(self, recipe: R, console: Console) -> None:
        """Make what training needs besides data and other runs, such as maps or features."""

    COPIES: int
    """Networks of its size in a checkpoint: 2 with a teacher."""

    def count(self, recipe: R, open_: Open) -> Counts:
        """Count clips and steps from the manifests alone.

        Raises:
            DataError: there is no manifest, or too few clips of a kind.
        """

    def expected(self, recipe: R, size_of: SizeOf) -> Counts | None:
        """Return the counts to expect while the data are missing; None if unknown."""

    def needs(self, recipe: R, classes: int) -> Needs:
        """Count parameters, memory and operations on torch's meta device."""

    def network(self, recipe: R, classes: int) -> nn.Module:
        """Return the network that is trained, on torch's default device."""

    def decoded(self, recipe: R) -> Decoded | None:
        """Return what the run caches decoded on disk."""

    def build_data(self, recipe: R) -> D:
        """Open the data and check that they suit the recipe."""

    def build_state(self, recipe: R, data: D, context: Context) -> S:
        """Build networks, teacher and thresholds."""

    def train_step(self, state: S, batch: B_contra) -> dict[str, Tensor]:
        """Return scalar terms with "loss"."""

    def evaluate(self, state: S, loader: Iterable[E_contra]) -> Evaluation:
        """Return metrics, tables, figures."""

    def load(self, path: Path, recipe: R | None, device: torch.device) -> Trained:
        """Load a trained network; `recipe` is its run's, if there is one."""


AnyTask = Task[Any, Any, Any, Any, Any]
"""A task to code that does not know which."""
AnyData = TrainData[Any, Any]


def nothing_before(recipe: object, console: Console) -> None:
    """Do nothing: for tasks that need only data and other runs."""


def owns_nothing(path: Path) -> bool:  # noqa: ARG001 - `Task` passes it
    """Return False: for tasks whose weights are used by the recipes that name their run."""
    return False


def answers_nothing(path: Path, recipe: Recipe | None, device: torch.device) -> Trained:  # noqa: ARG001 - as above
    """Refuse: for tasks whose runs are starts of others.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"{path}: a start for other runs answers nothing by itself; its result.json says what it learnt. Train a "
        "recipe that starts from it, and ask that run."
    )


class ReadyRun(Protocol):
    """A run that is ready to start."""

    def fit(self) -> Result:
        """Do the work and write result.json; return its content."""


@runtime_checkable
class Drawer(Protocol):
    """The module of a task that draws instead of training."""

    PICTURES: tuple[str, ...]
    """Files that a run leaves in its folder."""

    def check(self, recipe: Any) -> object:
        """Check that the data suit the recipe."""

    def draw(self, recipe: Any, run: Run, context: Context) -> ReadyRun:
        """Prepare the drawing."""
