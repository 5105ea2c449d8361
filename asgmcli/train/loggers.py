"""TensorBoard and Weights & Biases: optional displays of a run's metrics.jsonl."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from asgmcli.errors import DataError
from asgmcli.files import write_text
from asgmcli.loading import require
from asgmcli.recipe.base import TrainedRecipe
from asgmcli.recipe.training import Log
from asgmcli.train.log import Logger
from asgmcli.train.run import Run

TENSORBOARD = "tensorboard"
WANDB = "wandb"


def check_loggers(log: Log) -> None:
    """Check that the packages that `log` asks for are installed, before anything is made.

    Raises:
        UsageError: one is not.
    """
    for name in (TENSORBOARD, WANDB):
        if getattr(log, name):
            require([name], f"log.{name}", name)


@contextmanager
def open_loggers(recipe: TrainedRecipe, run: Run, *, writing: bool = True) -> Iterator[list[Logger]]:
    """Open the loggers that `recipe.log` asks for, and close them at the end; none unless this process writes.

    Raises:
        UsageError: see `check_loggers`.
        DataError: Weights & Biases fails.
    """
    check_loggers(recipe.log)
    with ExitStack() as stack:
        loggers: list[Logger] = []
        if writing and recipe.log.tensorboard:
            loggers.append(stack.enter_context(_tensorboard(run)))
        if writing and recipe.log.wandb:
            loggers.append(stack.enter_context(_wandb(recipe, run)))
        yield loggers


def scalars(line: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers of a line of metrics.jsonl: `train/loss`, `evaluation/top1`."""
    named: dict[str, object] = {}
    for kind, numbers in line.items():
        if isinstance(numbers, dict):  # of an evaluation or a validation
            named |= {f"{kind}/{name}": value for name, value in numbers.items()}
        elif kind != "step":
            named[f"train/{kind}"] = numbers
    return {name: float(value) for name, value in named.items() if isinstance(value, int | float)}


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def show(self, line: Mapping[str, object]) -> None:
        for name, value in scalars(line).items():
            self._writer.add_scalar(name, value, line["step"])


@contextmanager
def _tensorboard(run: Run) -> Iterator[Logger]:
    """Open TensorBoard in the run's folder `tensorboard`, rewritten from metrics.jsonl: no step appears twice."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run.folder / TENSORBOARD
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        logger = _TensorBoard(writer)
        for line in _lines(run.metrics_path):
            logger.show(line)
        yield logger


class _WandB:
    def __init__(self, run: Any) -> None:
        self._run = run

    def show(self, line: Mapping[str, object]) -> None:
        # The step is logged as a value: repeated steps of a resumed run replace the earlier ones.
        self._run.log({"step": line["step"], **scalars(line)})


@contextmanager
def _wandb(recipe: TrainedRecipe, run: Run) -> Iterator[Logger]:
    """Open a run of project `log.project`, continued if this run is resumed."""
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


def _lines(path: Path) -> Iterator[dict[str, object]]:
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(text)
