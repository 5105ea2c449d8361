"""NaN and infinity in the loss, a gradient, the student or the teacher: caught in that step and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asgmcli.errors import NotFiniteError
from asgmcli.train.checkpoint import load_state
from asgmcli.train.finite import numbers, where_not_finite
from asgmcli.train.loop import Trainer
from tests.tiny_training import tiny, trainer_of, watched

BAD = 7  # the step that is spoilt


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_tensor_that_is_not_finite_is_named(value: float) -> None:
    state = {"student": {"a": torch.ones(3), "b": torch.tensor([1.0, value, 2.0])}, "step": 3, "parts": [torch.ones(2)]}
    assert where_not_finite(state) == "student.b"
    state["student"]["b"][1] = 0
    assert where_not_finite(state) is None
    state["parts"][0][1] = value
    assert where_not_finite(state) == "parts.0"


def test_large_and_odd_tensors_are_finite() -> None:
    state = {
        "large": torch.full((1000,), 3e38),  # their sum is infinite
        "half": torch.full((70000,), 3.0, dtype=torch.float16),
        "counts": torch.tensor([2**62, 2**62]),
        "none": torch.zeros(0),
        "flags": torch.tensor([True]),
    }
    assert where_not_finite(state) is None
    assert where_not_finite({"step": 1}) is None
    assert where_not_finite({**state, "large": torch.tensor([3e38, 3e38, float("nan")])}) == "large"


def test_numbers_for_json() -> None:
    assert numbers({"a": 1.5, "b": float("nan"), "c": -float("inf")}) == {"a": 1.5, "b": "nan", "c": "-inf"}


def spoil_loss(trainer: Trainer) -> None:
    train_step = trainer.task.train_step

    def spoilt(state: Any, batch: Any) -> dict[str, Tensor]:
        terms = train_step(state, batch)
        return {**terms, "loss": terms["loss"] * float("inf")} if state.step == BAD else terms

    trainer.task.train_step = spoilt  # type: ignore[method-assign]


def spoil_gradient(trainer: Trainer) -> None:
    trainer.state.student.video.pos_embed.register_hook(  # type: ignore[attr-defined]
        lambda grad: grad * float("nan") if trainer.step == BAD else grad
    )


def spoil_student(trainer: Trainer) -> None:
    """A step that goes too far: the gradient is finite, what it makes of a weight is not."""
    step = trainer.optimizer.step

    def spoilt() -> None:
        if trainer.step == BAD:
            trainer.optimizer.param_groups[0]["lr"] = 3e38
        step()

    trainer.optimizer.step = spoilt  # type: ignore[method-assign,assignment]


def spoil_teacher(trainer: Trainer) -> None:
    begin_step = trainer.state.begin_step

    def spoilt(epoch: int, step: int) -> None:
        begin_step(epoch, step)
        if step == BAD:
            trainer.state.teacher.fusion.norm.bias.data[0] = float("nan")  # type: ignore[attr-defined]

    trainer.state.begin_step = spoilt  # type: ignore[method-assign]


SPOILERS: dict[str, tuple[Callable[[Trainer], None], str]] = {
    "loss": (spoil_loss, "the loss"),
    "gradient": (spoil_gradient, "a gradient"),
    "student": (spoil_student, "student."),
    "teacher": (spoil_teacher, "the loss"),  # what it says of the weak views makes a target
}


@pytest.mark.parametrize(
    "name", ["gradient", "teacher", *(pytest.param(name, marks=pytest.mark.long) for name in ("loss", "student"))]
)
def test_each_is_caught_within_its_step_before_the_teacher_and_the_checkpoint(
    demo: Path, tmp_path: Path, name: str
) -> None:
    spoil, cause = SPOILERS[name]
    ids: list[list[str]] = []
    trainer = trainer_of(tiny(tmp_path, demo, train__save_minutes=1e-9), tmp_path / "runs", task=watched(ids))
    spoil(trainer)
    with pytest.raises(NotFiniteError, match=rf"step {BAD}: .*is not finite .*The last checkpoint is intact") as caught:
        trainer.fit()
    assert caught.value.exit_code == 4
    report = json.loads((trainer.run.folder / "nonfinite.json").read_text(), parse_constant=pytest.fail)
    assert report["cause"].startswith(cause)
    assert (report["step"], report["ids"]) == (BAD, ids[BAD])
    assert set(report["terms"]) >= {"loss", "supervised", "unlabeled", "mixup", "contrastive"}
    state = load_state(trainer.run.state_path)
    assert state["step"] == BAD
    assert where_not_finite(state["state"]) is None
    if name != "teacher":
        assert where_not_finite(trainer.state.teacher.state_dict()) is None  # type: ignore[attr-defined]


def test_a_teacher_spoilt_after_the_step_is_not_saved(demo: Path, tmp_path: Path) -> None:
    trainer = trainer_of(tiny(tmp_path, demo, train__save_minutes=1e-9), tmp_path / "runs")
    after_step = trainer.state.after_step

    def spoilt() -> None:
        after_step()
        if trainer.step == BAD:
            trainer.state.teacher.fusion.norm.bias.data[0] = float("nan")  # type: ignore[attr-defined]

    trainer.state.after_step = spoilt  # type: ignore[method-assign]
    with pytest.raises(NotFiniteError, match=r"teacher\.fusion\.norm\.bias is not finite, so nothing was saved"):
        trainer.fit()
    state = load_state(trainer.run.state_path)
    assert state["step"] == BAD
    assert where_not_finite(state["state"]) is None
