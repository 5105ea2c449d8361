"""A run that must be over in time, on a clock that the tests turn."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from asgmcli.train.checkpoint import load_state
from asgmcli.train.deadline import ENDING_S, Deadline
from asgmcli.train.schedule import learning_rate
from tests.tiny_training import STEPS_AN_EPOCH, tiny, trainer_of


@dataclass
class Clock:
    """Seconds that only the tests let pass."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Trained:
    """A run in its barest form: the steps that it trains, each of which takes `seconds` of a step number."""

    deadline: Deadline
    clock: Clock
    steps: int
    epoch: int
    seconds: Any
    done: list[int] = field(default_factory=list)

    def run(self) -> list[int]:
        step = 0
        while step < self.steps:
            step = self.deadline.next_step(step, self.steps, self.epoch)
            while step < self.steps:
                self.clock.now += self.seconds(step)
                self.done.append(step)
                step += 1
                self.deadline.see(step - 1, 8, self.epoch)
                late = step % self.epoch and self.deadline.next_step(step, self.steps, self.epoch) != step
                if late or step % self.epoch == 0:
                    break
        return self.done


def trained(budget: float, seconds: Any, light: int = 0, steps: int = 400, epoch: int = 10) -> tuple[list[int], float]:
    clock = Clock()
    deadline = Deadline(100.0 + budget, clock)
    deadline.start(light, views=0)
    return Trained(deadline, clock, steps, epoch, seconds).run(), clock.now - 100.0


def test_nothing_is_left_out_where_there_is_time() -> None:
    done, took = trained(404.1, lambda step: 1.0)
    assert done == list(range(400))
    assert took == 400


@pytest.mark.parametrize(
    ("budget", "seconds", "light"),
    [
        (204.0, lambda step: 1.0, 0),  # half as much time as it takes
        (304.0, lambda step: 1.0 if step < 100 else 2.0, 0),  # the machine gets busy
        (354.0, lambda step: 3.0 if step < 100 else 1.0, 0),  # or less so
        (404.0, lambda step: 1.0 if step < 200 else 3.0, 200),  # the heavier steps come later
        (404.0, lambda step: 1.0 if step < 200 else 6.0, 200),  # and are worse than expected
        (24.0, lambda step: 1.0, 0),
    ],
)
def test_a_run_ends_in_time_with_its_last_step(budget: float, seconds: Any, light: int) -> None:
    done, took = trained(budget, seconds, light)
    assert 0.85 * (budget - ENDING_S) < took <= budget
    assert done[-1] == 399
    assert done == sorted(set(done))


def test_epochs_are_left_out_evenly_and_light_ones_keep_their_share() -> None:
    done, _ = trained(404.0, lambda step: 1.0 if step < 200 else 3.0, light=200)
    light = sum(step < 200 for step in done)
    assert 0.4 * len(done) < light < 0.6 * len(done)
    gaps = [after - before - 1 for before, after in pairwise(done)]
    assert max(gaps) <= 20  # never more than two epochs at once


def test_the_first_epoch_is_trained_though_no_time_is_left() -> None:
    done, took = trained(1.0, lambda step: 1.0)
    assert done[0] == 0
    assert 1 <= len(done) <= 10
    assert took <= 10


def test_the_evaluation_keeps_its_time() -> None:
    clock = Clock()
    deadline = Deadline(300.0, clock)
    clock.now += 5.0  # which it takes to begin
    deadline.start(0, views=100)
    clock.now += 4.0
    deadline.see(0, 2, 10)  # a clip takes 2 s: a view half of that
    # 300 - 109 = 191 s are left; 100 s, 4 s, and as many as to begin are for the end. In the other 82 s 20 steps fit.
    assert deadline.next_step(1, 100, 200) == 100 - 20


@pytest.mark.parametrize("epochs", [0, 3])
def test_a_run_in_its_loop_ends_in_time_and_says_so(demo: Path, tmp_path: Path, epochs: int) -> None:
    clock = Clock()
    recipe = tiny(
        tmp_path,
        demo,
        train__epochs=8,
        train__optimizer={"kind": "adamw", "lr": 0.01, "schedule": "cosine", "warmup_steps": 0},
    )
    trainer = trainer_of(recipe, tmp_path)
    begin = trainer.state.begin_step

    def slow(epoch: int, step: int) -> None:
        clock.now += 1.0
        begin(epoch, step)

    trainer.state.begin_step = slow  # type: ignore[method-assign]
    allowed = epochs * STEPS_AN_EPOCH
    trainer.deadline = Deadline(clock.now + allowed + ENDING_S, clock)
    trainer.deadline.views = 0
    result = trainer.fit()
    assert 0 < result["steps"] <= max(allowed, 1)
    assert trainer.step == 8 * STEPS_AN_EPOCH
    left = trainer.step - result["steps"]
    assert f"{left} of {trainer.step} steps were left out to end in time (--budget)." in result["notes"]
    assert load_state(trainer.run.state_path)["left_out"] == left
    lines = [json.loads(line) for line in trainer.run.metrics_path.read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert rates == sorted(rates, reverse=True)
    end = learning_rate(recipe.train.optimizer, trainer.step - 1, trainer.step)
    assert trainer.optimizer.param_groups[0]["lr"] == end or not epochs  # the cosine has come to its end
