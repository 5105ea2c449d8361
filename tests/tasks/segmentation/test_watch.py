"""A network that masks nothing is told of, one that does so only at first is not."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from asgmcli.tasks.segmentation.step import train_step
from asgmcli.tasks.segmentation.watch import MASKED, NothingMasked
from asgmcli.train.health import watch_over
from tests.tasks.segmentation.conftest import Make
from tests.tasks.segmentation.test_step import ready


def seen(watch: NothingMasked, shares: list[float]) -> str | None:
    for step, share in enumerate(shares):
        watch.see(step, {MASKED: share})
    return watch.warning


def test_a_quarter_of_the_run_without_a_masked_pixel_is_a_fault() -> None:
    assert seen(NothingMasked(400), [0.0] * 99) is None
    warning = seen(NothingMasked(400), [0.1] + [0.0] * 100)
    assert warning is not None
    assert warning.startswith("In 100 steps in a row less than a thousandth")
    assert seen(NothingMasked(400), [2e-4] * 100) == warning  # a dead head's few pixels, as dropout has them
    assert seen(NothingMasked(400), [0.0] * 120 + [0.1]) is None  # it began late, and did
    assert seen(NothingMasked(20), [0.0] * 20) is None  # too few steps to tell


def test_steps_without_the_term_count_for_nothing_and_a_resumed_run_goes_on_counting() -> None:
    watch = NothingMasked(100)
    assert seen(watch, [0.0] * 39) is None
    watch.see(39, {"loss": 1.0})
    assert watch.warning is None
    resumed = NothingMasked(100)
    resumed.load_state_dict(watch.state_dict())
    assert seen(resumed, [0.0]) is not None


def test_a_head_whose_last_relu_is_dead_is_told_of(recipe_of: Make, tmp_path: Path) -> None:
    state, batch = ready(recipe_of, tmp_path, "avs")
    head = state.student.network.get_submodule("head.fc")
    last = [layer for layer in head.modules() if isinstance(layer, nn.Conv2d)][-2]
    assert last.bias is not None
    with torch.no_grad():
        last.bias.fill_(-100.0)
    terms = train_step(state, batch)
    assert float(terms[MASKED]) == 0
    assert terms["loss"].requires_grad
    health = watch_over(state, 160, 10)
    told = [warning for step in range(60) for warning in health.see(step, {MASKED: float(terms[MASKED])})]
    assert len(told) == 1
    assert health.warnings[0].startswith("In 60 steps")
