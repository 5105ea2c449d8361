"""NaN and infinity in the loss, a gradient, the student or the teacher: caught in that step, told, undone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asgmcli.errors import Interrupted, NotFiniteError
from asgmcli.train.checkpoint import load_state
from asgmcli.train.finite import Undo, numbers, where_not_finite
from asgmcli.train.loop import Trainer
from tests.tiny_training import tiny, trainer_of, watched

BAD = 7  # the step that is spoilt
SKIP: dict[str, Any] = {"train__on_nonfinite": "skip", "train__max_steps": 10}


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


def test_undoing_puts_back_weights_running_means_and_the_optimizer() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)

    def step(inputs: Tensor) -> None:
        optimizer.zero_grad()
        network(inputs).square().sum().backward()
        optimizer.step()

    good, later = torch.randn(4, 3), torch.randn(4, 3)
    step(good)
    undo = Undo(network, optimizer)
    step(torch.full((4, 3), float("nan")))
    assert where_not_finite(network.state_dict()) is not None
    undo()
    step(later)
    after = {name: value.clone() for name, value in network.state_dict().items()}

    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    step(good)
    step(later)
    assert all(torch.equal(value, after[name]) for name, value in network.state_dict().items())


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


@pytest.mark.parametrize("name", SPOILERS)
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
    assert (report["step"], report["ids"], report["skips"]) == (BAD, ids[BAD], 0)
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


@pytest.mark.parametrize("name", ["loss", "student"])
def test_a_skipped_step_leaves_nothing_behind(demo: Path, tmp_path: Path, name: str) -> None:
    ids: list[list[str]] = []
    trainer = trainer_of(tiny(tmp_path, demo, **SKIP), tmp_path / "runs", task=watched(ids))
    SPOILERS[name][0](trainer)
    states: list[dict[str, Any]] = []
    begin_step = trainer.state.begin_step

    def noted(epoch: int, step: int) -> None:
        states.append(dict(_flat(trainer.state.state_dict())))
        states[-1] |= {f"optimizer.{key}": value for key, value in _flat(trainer.optimizer.state_dict()["state"])}
        begin_step(epoch, step)

    trainer.state.begin_step = noted  # type: ignore[method-assign]
    result = trainer.fit()
    assert (result["steps"], result["skipped_steps"]) == (10, 1)
    assert states[BAD].keys() == states[BAD + 1].keys()
    assert all(torch.equal(value, states[BAD + 1][key]) for key, value in states[BAD].items())
    assert not torch.equal(states[BAD + 1]["student.fusion.norm.bias"], states[BAD + 2]["student.fusion.norm.bias"])
    lines = [json.loads(line) for line in trainer.run.metrics_path.read_text().splitlines()]
    assert [line for line in lines if "skipped" in line] == [{"step": BAD + 1, "epoch": 1, "skipped": ids[BAD]}]
    assert [line["step"] for line in lines if "loss" in line] == [10]
    assert f"step {BAD}: " in trainer.console.file.getvalue()  # type: ignore[attr-defined]


def _flat(state: Any, name: str = "") -> Any:
    if isinstance(state, Tensor):
        yield name, state.clone()
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))


def test_more_skips_than_allowed_stop_also_over_a_resume(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, **SKIP, train__max_skips=2)

    def at(*steps: int) -> Any:
        def act(terms: dict[str, Tensor]) -> dict[str, Tensor]:
            return {**terms, "loss": terms["loss"] * float("nan")}

        task = watched([])
        train_step = task.train_step

        def spoilt(state: Any, batch: Any) -> dict[str, Tensor]:
            if state.step == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            terms: dict[str, Tensor] = train_step(state, batch)
            return act(terms) if state.step in steps else terms

        task.train_step = spoilt
        return task

    with pytest.raises(Interrupted):
        trainer_of(recipe, tmp_path / "runs", task=at(1, 3)).fit()
    trainer = trainer_of(recipe, tmp_path / "runs", task=at(8), resume=True)
    with pytest.raises(NotFiniteError, match=r"step 8: .* More than train\.max_skips = 2 steps were"):
        trainer.fit()
    assert load_state(trainer.run.state_path)["skips"] == 2
    assert trainer_of(recipe, tmp_path / "runs", resume=True).fit()["skipped_steps"] == 2


def test_what_cannot_be_undone_stops(demo: Path, tmp_path: Path) -> None:
    trainer = trainer_of(tiny(tmp_path, demo, **SKIP), tmp_path / "runs")
    after_step = trainer.state.after_step

    def spoilt() -> None:
        after_step()
        if trainer.step == BAD:
            trainer.state.student.fusion.norm.bias.data[0] = float("nan")  # type: ignore[attr-defined]

    trainer.state.after_step = spoilt  # type: ignore[method-assign]
    with pytest.raises(NotFiniteError, match=rf"step {BAD + 1}: "):
        trainer.fit()
