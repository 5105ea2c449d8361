"""train.keep: the epoch that is evaluated is the best validated one, in a straight run and after any stop."""

from __future__ import annotations

import io
import json
import math
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from asgmcli.errors import DataError, Interrupted
from asgmcli.recipe.base import Best
from asgmcli.recipe.training import ValidatedTrain
from asgmcli.train.batches import Precomputed
from asgmcli.train.best import BestEpoch
from asgmcli.train.checkpoint import load_state
from asgmcli.train.cost import Counts
from asgmcli.train.loop import Trainer, make_trainer
from asgmcli.train.run import Run
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context, Evaluation
from tests.steady import steady_lines
from tests.toy.recipe import BrightnessRecipe

STEPS = 2
VALUES = [10.0, 30.0, 20.0, 30.0, 25.0]


class ValidatedRecipe(BrightnessRecipe):
    """Keeps the later of equal epochs."""

    best: ClassVar[Best | None] = Best(("score",), latest=True)
    train: ValidatedTrain = ValidatedTrain()


class LowestRecipe(ValidatedRecipe):
    """Keeps the first of the lowest."""

    best: ClassVar[Best | None] = Best(("score",), lowest=True)


@dataclass(frozen=True)
class Batch(Precomputed):
    ids: list[str]


@dataclass
class Data:
    validation: Iterable[str] | None
    evaluation: Iterable[str] = ("test",)
    steps: int = STEPS

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for _ in range(start, STEPS):
            yield Batch(["clip"])

    def summary(self) -> dict[str, Any]:
        return {}


@dataclass
class State(SingleNetwork):
    network: nn.Linear
    step: int = -1

    def begin_step(self, epoch: int, step: int) -> None:
        self.step = step

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.step = state["step"]

    def export(self, folder: Path) -> None:
        (folder / "weight.txt").write_text(repr(self.network.weight.item()))


def trainer(
    folder: Path,
    kind: type[ValidatedRecipe] = ValidatedRecipe,
    keep: str = "best",
    stop_at: int = -1,
    validation: Iterable[str] | None = ("val",),
) -> Trainer:
    """A trainer whose epoch e is worth VALUES[e] on val and whose evaluation says which step's weights it is shown."""
    train = {"epochs": len(VALUES), "batch": 1, "keep": keep, "optimizer": {"lr": 0.01}, "save_minutes": 1e-9}
    recipe = kind.model_validate(
        {
            "name": "keep",
            "task": "brightness",
            "title": "Keep",
            "default_row": "plain",
            "rows": {"plain": {"title": "plain"}},
            "data": {"dataset": "none"},
            "train": train,
        }
    )
    judged = 0

    def evaluate(state: State, batches: Iterable[str]) -> Evaluation:
        nonlocal judged
        (split,) = list(batches)
        judged += split == "val"
        if split == "val" and judged == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        value = VALUES[state.step // STEPS] if split == "val" else float(state.step)
        return Evaluation({"score": value})

    def train_step(state: State, batch: Batch) -> dict[str, Tensor]:
        return {"loss": state.network(torch.ones(1, 1)).square().sum()}

    task: Any = SimpleNamespace(
        evaluate=evaluate,
        count=lambda recipe, open_: Counts({}, 0, 1, 1),
        train_step=train_step,
        build_state=lambda recipe, data, context: State(nn.Linear(1, 1)),
    )
    folder.mkdir(exist_ok=True)
    context = Context(torch.device("cpu"), folder)
    return make_trainer(task, recipe, Run(folder), context, Console(file=io.StringIO(), width=200), Data(validation))


@pytest.mark.parametrize(
    ("kind", "keep", "epoch"),
    [(ValidatedRecipe, "best", 3), (LowestRecipe, "best", 0), (ValidatedRecipe, "last", 4)],
)
def test_the_kept_epoch_is_evaluated_and_exported(
    tmp_path: Path, kind: type[ValidatedRecipe], keep: str, epoch: int
) -> None:
    result = trainer(tmp_path / "run", kind, keep).fit()
    step = STEPS * epoch + STEPS - 1
    assert result["metrics"] == {"score": float(step)}
    if keep == "best":
        assert result["kept"] == {"epoch": epoch, "step": step + 1, "metric": "score", "value": VALUES[epoch]}
        kept = load_state(tmp_path / f"run/checkpoints/best_{step + 1}.pt")
        assert (tmp_path / "run/weight.txt").read_text() == repr(kept["network"]["weight"].item())
    else:
        assert "kept" not in result
    files = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert files == ([f"best_{step + 1}.pt"] if keep == "best" else []) + ["last.pt"]


@pytest.mark.parametrize("stop_at", [1, 2, 4, 5])
def test_a_run_stopped_in_any_validation_keeps_the_same_epoch(tmp_path: Path, stop_at: int) -> None:
    whole = trainer(tmp_path / "whole").fit()
    with pytest.raises(Interrupted):
        trainer(tmp_path / "parts", stop_at=stop_at).fit()
    resumed = trainer(tmp_path / "parts")
    assert resumed.fit()["kept"] == whole["kept"]
    assert (tmp_path / "parts/weight.txt").read_bytes() == (tmp_path / "whole/weight.txt").read_bytes()
    assert steady_lines(tmp_path / "parts/metrics.jsonl") == steady_lines(tmp_path / "whole/metrics.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert [line["validation"]["score"] for line in lines if "validation" in line] == VALUES


def test_a_checkpoint_without_its_best_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trainer(tmp_path / "run", stop_at=3).fit()
    (tmp_path / "run/checkpoints/best_4.pt").unlink()
    with pytest.raises(DataError, match=r"best_4\.pt: no checkpoint here"):
        trainer(tmp_path / "run").fit()


def test_without_a_validation_split_the_last_epoch_is_kept_and_said(tmp_path: Path) -> None:
    result = trainer(tmp_path / "run", validation=None).fit()
    assert result["metrics"] == {"score": STEPS * len(VALUES) - 1.0}
    assert "the last epoch is kept" in " ".join(result["notes"])


def test_nan_is_worse_than_any_number_and_a_missing_metric_is_told(tmp_path: Path) -> None:
    best = BestEpoch(Best(("first", "second")), tmp_path)
    assert best.better({"second": math.nan})
    best.see(1, 0, {"second": math.nan}, {}, better=True)
    assert not best.better({"second": math.nan})
    assert best.better({"second": 1.0})
    best.see(2, 1, {"second": 1.0}, {}, better=True)
    assert not best.better({"second": math.nan})
    assert not best.better({"second": 1.0})
    with pytest.raises(DataError, match=r"no first nor second.*train\.keep=last"):
        best.better({"other": 1.0})
