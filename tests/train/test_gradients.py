"""Ways to compute the same step: the options change memory and time, not the gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from asgmcli.bench.made_up import made_up_batch, made_up_state
from asgmcli.nn.timesformer import DividedBlock
from asgmcli.tasks import recognition
from asgmcli.train.gradients import compute_gradients
from asgmcli.train.schedule import make_optimizer
from tests.tiny_training import tiny

CLASSES = 5


def step(folder: Path, *, drop_path: float = 0.0, **changes: object) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Terms and gradients of one step of a made-up batch (2 labelled, 4 unlabelled, 4 mixed clips)."""
    recipe = tiny(folder, folder, model__video__drop_path=drop_path, model__audio__drop_path=drop_path, **changes)
    device = torch.device("cpu")
    torch.manual_seed(0)
    state = made_up_state(recipe, CLASSES, device)
    for name, parameter in state.student.named_parameters():
        if "temporal_fc" in name:  # zero at the start, which would hide what lies before it
            torch.nn.init.normal_(parameter, std=0.1)
    batch = made_up_batch(recipe, CLASSES, 2, 4, device)
    optimizer = make_optimizer(state.trained(), recipe.train.optimizer)
    state.begin_step(0, 0)
    torch.manual_seed(1)
    terms, _ = compute_gradients(recognition.train_step, state, batch, optimizer, recipe.train)
    assert state.threshold.state_dict()  # the teacher has evaluated the batch
    gradients = {name: parameter.grad for name, parameter in state.student.named_parameters()}
    return {name: float(term.detach()) for name, term in terms.items()}, gradients


def assert_same(one: tuple[dict[str, float], dict[str, Tensor]], other: tuple[dict[str, float], dict[str, Tensor]]):
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert {"supervised", "unlabeled", "mixup", "contrastive"} <= set(one[0])
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-4, atol=1e-6, msg=name)
        assert gradient.isfinite().all()


def test_checkpointing_gives_the_same_gradients_with_the_same_drops(tmp_path: Path, monkeypatch) -> None:
    calls = []
    forward = DividedBlock.forward
    monkeypatch.setattr(DividedBlock, "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k))
    plain = step(tmp_path, drop_path=0.5)
    assert len(calls) == 2 * 2  # two blocks, of the student and of the teacher
    calls.clear()
    again = step(tmp_path, drop_path=0.5, train__activation_checkpointing=True)
    assert len(calls) == 2 * 2 + 2  # the student's once more
    assert_same(plain, again)


@pytest.mark.parametrize(("parts", "checkpointing"), [(3, False), (2, True), (10, False)])
def test_accumulation_gives_the_gradients_of_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int, checkpointing: bool
) -> None:
    """Mixing partners and the contrastive loss's negatives come from all parts."""
    calls = []
    forward = DividedBlock.forward
    plain = step(tmp_path)
    monkeypatch.setattr(DividedBlock, "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k))
    again = step(tmp_path, train__accumulate=parts, train__activation_checkpointing=checkpointing)
    # The teacher's two blocks once; the student's of each part twice, or a third time to save memory.
    assert len(calls) == 2 + 2 * parts * (2 + checkpointing)
    assert_same(plain, again)


def test_accumulation_holds_one_part_at_a_time(tmp_path: Path) -> None:
    """What the forward pass stores is the tokens that go in and little else, however large the network."""

    def stored(**changes: object) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            step(tmp_path, **changes)
        return sum(sizes.values())

    assert stored(train__accumulate=5) < 0.6 * stored()


@pytest.mark.long
def test_compiled_gives_the_same_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of torch.compile but the last stage, which writes and builds kernels for minutes."""
    graphs = []
    real = torch.compile

    def compiled(function, **options):
        graphs.append(function)
        return real(function, backend="aot_eager", fullgraph=True)

    plain = step(tmp_path, model__video__depth=1)
    monkeypatch.setattr(torch, "compile", compiled)
    assert_same(plain, step(tmp_path, model__video__depth=1, train__compile=True))
    student, teacher = (function.__self__ for function in graphs)
    assert student is not teacher
    assert teacher.video is not student.video


def test_bf16_is_near(tmp_path: Path) -> None:
    plain, half = step(tmp_path), step(tmp_path, train__precision="bf16")
    assert half[0]["loss"] == pytest.approx(plain[0]["loss"], rel=0.05)
    ours = torch.cat([gradient.flatten() for gradient in half[1].values()])
    theirs = torch.cat([gradient.flatten() for gradient in plain[1].values()])
    assert ours.dtype == torch.float32
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.99
