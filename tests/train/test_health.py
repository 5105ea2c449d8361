"""Watches tell once what goes wrong, hold their tongue where little was seen, and count on after a resume."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from asgmcli.errors import Interrupted
from asgmcli.train.batches import Precomputed
from asgmcli.train.cost import Counts
from asgmcli.train.health import AtChance, Health, Phase, Watch, ZeroTerm, watch_over
from asgmcli.train.loop import Trainer, make_trainer
from asgmcli.train.run import run_of
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context, Evaluation
from tests.steady import steady_lines
from tests.tiny_training import tiny, trainer_of


def nothing(steps: int) -> ZeroTerm:
    return ZeroTerm("share", steps, "{zeros}/{seen} {row} {first}-{last} {beside:.2f}", beside="confidence")


def show(watch: Watch, shares: Sequence[float | None], start: int = 0) -> list[str]:
    """Every warning that `Health` tells of steps with these shares; None is a step without the term."""
    health, told = Health([watch]), []
    for step, share in enumerate(shares, start=start):
        terms = {"loss": 1.0} if share is None else {"share": share, "confidence": 0.25}
        told += health.see(step, terms)
    return told


@pytest.mark.parametrize(
    ("steps", "shares", "told"),
    [
        (100, [0.0] * 9 + [0.5] + [0.0] * 9, []),
        (100, [0.0] * 10, ["10/10 10 1-10 0.25"]),
        (100, [None] * 7 + [0.5] + [0.0] * 40, ["10/11 10 9-18 0.25"]),  # once
        (8, [0.0] * 4, []),  # a few steps are no tenth
        (8, [0.0] * 5, ["5/5 5 1-5 0.25"]),
        (60, [None, 0.0] * 6, ["6/6 6 7-12 0.25"]),
    ],
)
def test_a_tenth_of_the_steps_in_a_row(steps: int, shares: list[float | None], told: list[str]) -> None:
    assert show(nothing(steps), shares) == told


def test_the_last_word_counts_all_that_was_seen() -> None:
    watch = nothing(50)
    show(watch, [0.0] * 20 + [0.1] * 3 + [0.0] * 7)
    assert watch.warning == "27/30 20 1-20 0.25"


def at_chance(phases: list[Phase], answers: int = 10, chance: float = 0.25) -> AtChance:
    message = "{phase} {first}-{last}: {percent:.1f}% of {answers}, {chance:.0f}%"
    return AtChance("accuracy", answers, chance, phases, message)


def accuracies(watch: AtChance, values: Sequence[float]) -> list[str]:
    health, told = Health([watch]), []
    for step, value in enumerate(values):
        told += health.see(step, {"accuracy": value})
    return told


def test_accuracy_at_chance_is_told_at_the_end_of_a_phase() -> None:
    phase = Phase("all", 0, 40)
    assert accuracies(at_chance([phase]), [0.3] * 40) == ["all 31-40: 30.0% of 100, 25%"]
    # P(X >= 35) = 0.0164 and P(X >= 36) = 0.0094 of 100 answers at 1/4.
    assert accuracies(at_chance([phase]), [0.0] * 30 + [0.3] * 5 + [0.4] * 5) != []
    assert accuracies(at_chance([phase]), [0.0] * 30 + [0.3] * 4 + [0.4] * 6) == []
    assert accuracies(at_chance([phase]), [0.9] * 30 + [0.2] * 10) != []  # the last quarter decides
    assert accuracies(at_chance([phase]), [0.2] * 39) == []  # not there yet


def test_the_last_phase_that_ended_decides_and_one_is_told() -> None:
    phases = [Phase("first", 0, 40), Phase("all", 0, 100)]
    watch = at_chance(phases)
    assert len(accuracies(watch, [0.2] * 100)) == 1
    assert str(watch.warning).startswith("all")
    learnt = at_chance(phases)
    assert accuracies(learnt, [0.2] * 40 + [0.8] * 60) == ["first 31-40: 20.0% of 100, 25%"]
    assert learnt.warning is None  # it did not stay there


@pytest.mark.parametrize(
    ("steps", "answers", "chance"),
    [(39, 100, 0.1), (40, 1, 0.1), (40, 100, 1.0), (200, 1, 0.01)],
)
def test_too_little_to_tell_is_not_judged(steps: int, answers: int, chance: float) -> None:
    watch = at_chance([Phase("all", 0, steps)], answers, chance)
    assert accuracies(watch, [0.0] * steps) == []


def test_what_was_told_and_counted_survives() -> None:
    shares = [0.0] * 30
    one, other = Health([nothing(50), nothing(400)]), Health([nothing(50), nothing(400)])
    for step in range(12):
        one.see(step, {"share": shares[step], "confidence": 0.5})
    saved = json.loads(json.dumps(one.state_dict()))
    other.load_state_dict(saved)
    assert other.see(12, {"share": 0.0, "confidence": 0.5}) == []  # told before
    assert other.warnings == ["13/13 13 1-13 0.50"]
    with pytest.raises(ValueError, match="argument"):
        Health([]).load_state_dict(saved)
    assert watch_over(object(), 10, 5).warnings == []


# ---- in a run


def hopeless(folder: Path, demo: Path, **changes: object) -> Any:
    """A recipe whose teacher never passes: 25 semi-supervised steps of 30."""
    return tiny(folder, demo, **{"train__epochs": 6, "thresholds__value": 1.0, "thresholds__kind": "fixed", **changes})


def said(trainer: Trainer) -> str:
    file = trainer.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def logged(trainer: Trainer) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in trainer.run.metrics_path.read_text().splitlines()]
    return [line for line in lines if "warning" in line]


@pytest.mark.long
def test_pseudo_labels_that_never_pass_are_told_once_and_kept(demo: Path, tmp_path: Path) -> None:
    trainer = trainer_of(hopeless(tmp_path, demo, train__epochs=3), tmp_path / "runs")
    result = trainer.fit()
    (warning,) = result["warnings"]
    assert warning.startswith("No pseudo-label passed the threshold in 10 of 10 semi-supervised steps, 10 of them in a")
    for words in ("thresholds.value (now 1)", "thresholds.kind=flexible", "train.supervised_epochs (now 1"):
        assert words in warning
    (line,) = logged(trainer)
    assert (line["step"], line["epoch"]) == (10, 1)
    assert line["warning"].startswith("No pseudo-label passed the threshold in 5 of 5 ")
    assert said(trainer).count("No pseudo-label passed") == 1
    passing = trainer_of(tiny(tmp_path, demo, thresholds__value=0.01), tmp_path / "passing")
    assert passing.fit()["warnings"] == []


@pytest.mark.long
def test_a_resumed_run_tells_what_the_straight_one_does(demo: Path, tmp_path: Path) -> None:
    recipe = hopeless(tmp_path, demo)
    straight = trainer_of(recipe, tmp_path / "straight")
    expected = straight.fit()["warnings"]
    told = ""
    for at in (7, 15):  # before it was told, and after
        stopped = trainer_of(recipe, tmp_path / "runs", resume=at > 7)
        halt(stopped, at)
        with pytest.raises(Interrupted):
            stopped.fit()
        told += said(stopped)
    resumed = trainer_of(recipe, tmp_path / "runs", resume=True)
    assert resumed.fit()["warnings"] == expected
    assert steady_lines(resumed.run.metrics_path) == steady_lines(straight.run.metrics_path)
    assert (told + said(resumed)).count("No pseudo-label passed") == 1


def halt(trainer: Trainer, at: int) -> None:
    """Ask the trainer to stop in its step `at`, as a signal would."""
    begin = trainer.state.begin_step

    def begin_step(epoch: int, step: int) -> None:
        begin(epoch, step)
        if step == at:
            trainer.stop.number = 15

    trainer.state.begin_step = begin_step  # type: ignore[method-assign]


def test_labels_that_cannot_be_learnt_are_told(demo: Path, tmp_path: Path) -> None:
    """With a learning rate of almost nothing the accuracy stays where it was: at guessing."""
    changes = {"train__optimizer__lr": 1e-9, "train__epochs": 14, "train__unlabeled_ratio": 0, "train__batch": 10}
    recipe = tiny(tmp_path, demo, "video", data__labeled_per_class=3, **changes)
    trainer = trainer_of(recipe, tmp_path / "runs")
    (warning,) = trainer.fit()["warnings"]
    assert warning.startswith("On the labelled clips that it trains on, the network is no better than guessing at the")
    for words in ("end of the run", "in steps 33 to 42", "guessing gets 10.0%", "train.optimizer.lr (now 1e-09)"):
        assert words in warning
    assert said(trainer).count("no better than guessing") == 1


# ---- another task's own watch


@dataclass
class Falling:
    """Warn when the loss rises."""

    last: float = float("inf")
    rises: int = 0

    @property
    def warning(self) -> str | None:
        return f"the loss rose {self.rises} times" if self.rises else None

    def see(self, step: int, terms: Mapping[str, float]) -> None:
        self.rises += terms["loss"] > self.last
        self.last = terms["loss"]

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.last, "rises": self.rises}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last, self.rises = state["last"], state["rises"]


@dataclass(frozen=True)
class ToyBatch(Precomputed):
    ids: list[str] = field(default_factory=lambda: ["a"])


class ToyData:
    steps = 4
    evaluation: Sequence[Any] = ()
    notes: Sequence[str] = ("four batches, all alike",)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        yield from [ToyBatch()] * (self.steps - start)

    def summary(self) -> dict[str, Any]:
        return {}


@dataclass
class ToyState(SingleNetwork):
    network: nn.Linear = field(default_factory=lambda: nn.Linear(1, 1))

    def begin_step(self, epoch: int, step: int) -> None:
        self.step = step

    def export(self, folder: Path) -> None:
        pass

    def watches(self, steps: int, steps_an_epoch: int) -> list[Watch]:
        assert (steps, steps_an_epoch) == (12, 4)
        return [Falling()]


def toy_step(state: ToyState, batch: Any) -> dict[str, Tensor]:
    loss = state.network(torch.ones(1, 1)).square().mean()
    return {"loss": loss * 0 + (5.0 if state.step == 6 else 1.0)}


def test_a_task_gives_watches_of_its_own(demo: Path, tmp_path: Path) -> None:
    task = SimpleNamespace(
        build_data=lambda recipe: ToyData(),
        count=lambda recipe, open_: Counts({}, 0, 1, 1),
        build_state=lambda recipe, data, context: ToyState(),
        train_step=toy_step,
        evaluate=lambda state, batches: Evaluation({"top1": 1.0}),
    )
    recipe = tiny(tmp_path, demo)
    run = run_of(recipe, tmp_path / "runs")
    run.prepare(recipe, resume=False, overwrite=False)
    console = Console(file=io.StringIO(), width=200)
    trainer = make_trainer(task, recipe, run, Context(torch.device("cpu"), tmp_path), console)  # type: ignore[arg-type]
    result = trainer.fit()
    assert result["warnings"] == ["the loss rose 1 times"]
    assert result["notes"] == ["four batches, all alike"]
    assert "Note: four batches, all alike" in said(trainer)
    assert said(trainer).count("Warning: the loss rose 1 times") == 1
