"""What a run measures, shown by TensorBoard or Weights & Biases beside its metrics.jsonl, for those who use them."""

from __future__ import annotations

import importlib.util
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from asgmcli.errors import DataError, UsageError
from asgmcli.files import write_text
from asgmcli.recipe.base import TrainedRecipe
from asgmcli.recipe.training import Log
from asgmcli.train.log import Board
from asgmcli.train.run import Run

TENSORBOARD = "tensorboard"
WANDB = "wandb"


def check_boards(log: Log) -> None:
    """See that the packages that `log` asks for are installed, before anything is made.

    Raises:
        UsageError: one is not.
    """
    for name in (TENSORBOARD, WANDB):
        if getattr(log, name) and importlib.util.find_spec(name) is None:
            raise UsageError(
                f"log.{name}: true needs the package {name}. Install it: pip install 'asgm[{name}]', or leave it out: "
                f"--set log.{name}=false"
            )


@contextmanager
def open_boards(recipe: TrainedRecipe, run: Run, *, writing: bool = True) -> Iterator[list[Board]]:
    """The boards that `recipe.log` asks for, closed at the end; none where another process is the one that writes.

    Raises:
        UsageError: see `check_boards`.
        DataError: Weights & Biases refuses.
    """
    check_boards(recipe.log)
    with ExitStack() as stack:
        boards: list[Board] = []
        if writing and recipe.log.tensorboard:
            boards.append(stack.enter_context(_tensorboard(run)))
        if writing and recipe.log.wandb:
            boards.append(stack.enter_context(_wandb(recipe, run)))
        yield boards


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics.jsonl: `train/loss`, `evaluation/top1`."""
    named = {f"evaluation/{name}": value for name, value in line.get("evaluation", {}).items()}
    named |= {f"train/{name}": value for name, value in line.items() if name not in ("step", "evaluation")}
    return {name: float(value) for name, value in named.items() if isinstance(value, int | float)}


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def show(self, line: Mapping[str, Any]) -> None:
        for name, value in scalars(line).items():
            self._writer.add_scalar(name, value, line["step"])


@contextmanager
def _tensorboard(run: Run) -> Iterator[Board]:
    """The run's folder `tensorboard`, which says what metrics.jsonl says: after a resume, too, no step twice."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run.folder / TENSORBOARD
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        board = _TensorBoard(writer)
        for line in _lines(run.metrics_path):
            board.show(line)
        yield board


class _WandB:
    def __init__(self, run: Any) -> None:
        self._run = run

    def show(self, line: Mapping[str, Any]) -> None:
        # The step is a value like others: of a resumed run's repeated steps the later ones count.
        self._run.log({"step": line["step"], **scalars(line)})


@contextmanager
def _wandb(recipe: TrainedRecipe, run: Run) -> Iterator[Board]:
    """A run of project `log.project`, gone on with where this run is resumed."""
    import wandb

    place = run.folder / "wandb-id"
    if not place.exists():
        write_text(place, secrets.token_hex(8) + "\n")
    try:
        shown = wandb.init(
            project=recipe.log.project,
            group=recipe.name,
            name=f"{recipe.name}/{recipe.default_row}/seed{recipe.seed}",
            id=place.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(run.folder),
            config=recipe.model_dump(mode="json", exclude={"rows"}),
        )
    except Exception as error:  # not logged in, no network: wandb and its HTTP client each raise their own kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"log.wandb: Weights & Biases refuses: {reason}. Run `wandb login`, set WANDB_MODE=offline, or leave it "
            "out: --set log.wandb=false"
        ) from error
    shown.define_metric("step")
    shown.define_metric("*", step_metric="step")
    try:
        yield _WandB(shown)
    finally:
        shown.finish()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(text)
