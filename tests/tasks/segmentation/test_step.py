"""One step: losses by hand, the teacher's targets, CutMix on picture, flow and counted pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asgmcli.losses.mask_bce import mask_bce
from asgmcli.tasks.segmentation import step
from asgmcli.tasks.segmentation.batch import Batch
from asgmcli.tasks.segmentation.data import build_data
from asgmcli.tasks.segmentation.model import SegmentationState, build_state
from asgmcli.tasks.segmentation.step import train_step
from asgmcli.train.task import Context
from tests.tasks.segmentation.conftest import Make


def ready(recipe_of: Make, tmp_path: Path, row: str = "ufe", *overrides: str) -> tuple[SegmentationState, Batch]:
    recipe = recipe_of(row, *overrides)
    torch.manual_seed(0)
    data = build_data(recipe)
    state = build_state(recipe, data, Context(torch.device("cpu"), tmp_path))
    epoch = recipe.train.epochs - 1
    state.begin_step(epoch, 0)
    return state, next(iter(data.epoch(epoch)))


def test_burn_in_sees_labelled_frames_alone(recipe_of: Make, tmp_path: Path) -> None:
    state, batch = ready(recipe_of, tmp_path)
    terms = train_step(state, replace(batch, unlabeled=None))
    assert set(terms) == {"loss", "supervised", "match", "masked_share"}
    assert 0 <= float(terms["masked_share"]) <= 1
    both = train_step(state, batch)
    assert set(both) >= {"loss", "supervised", "match", "unlabeled"}
    weighted = both["supervised"] + 0.5 * both["unlabeled"]
    torch.testing.assert_close(both["loss"].detach(), weighted)


def test_the_supervised_loss_is_bce_of_counted_pixels(recipe_of: Make, tmp_path: Path) -> None:
    state, batch = ready(recipe_of, tmp_path, "plain", "losses.match.weight=0")
    assert batch.labeled is not None
    labeled = batch.labeled
    found = state.student(labeled.image, labeled.audio, labeled.flow)
    wanted = mask_bce(found.logits.flatten(0, 1), labeled.mask.flatten(0, 1), labeled.counted.flatten(0, 1))
    torch.testing.assert_close(train_step(state, batch)["loss"], wanted)
    ignored = replace(labeled, mask=labeled.mask | ~labeled.counted)  # what lies outside of the picture tells nothing
    torch.testing.assert_close(train_step(state, replace(batch, labeled=ignored))["loss"], wanted)


def test_the_target_is_the_teachers_and_the_partners_inside_the_box(recipe_of: Make, tmp_path: Path) -> None:
    state, batch = ready(recipe_of, tmp_path, "ufe", "cutmix.probability=1.0")
    unlabeled, partner = batch.unlabeled, torch.tensor([1, 0])
    assert unlabeled is not None
    target, soft = step._target(state, unlabeled, partner)
    assert not target.requires_grad
    own = soft.sigmoid()
    box = unlabeled.box[:, None]
    torch.testing.assert_close(target, torch.where(box, own[partner], own))
    state.student.eval()
    with torch.no_grad():
        torch.testing.assert_close(soft, state.student(unlabeled.weak, unlabeled.audio, unlabeled.flow).logits)
    mixed = step._mixed(state, unlabeled, partner)
    assert unlabeled.flow is not None
    assert mixed.flow is not None
    for number, other in enumerate(partner.tolist()):
        inside = unlabeled.box[number]
        for whole, parts in ((mixed.image, unlabeled.strong), (mixed.flow, unlabeled.flow)):
            assert torch.equal(whole[number, 0][:, inside], parts[other, 0][:, inside])
            assert torch.equal(whole[number, 0][:, ~inside], parts[number, 0][:, ~inside])
        assert torch.equal(mixed.counted[number, 0][inside], unlabeled.counted[other, 0][inside])
    assert torch.equal(mixed.audio, unlabeled.audio)


def test_both_sounds_are_heard_where_there_is_a_box(recipe_of: Make, tmp_path: Path) -> None:
    state, batch = ready(recipe_of, tmp_path, "ufe", "cutmix.sound=both")
    assert batch.unlabeled is not None
    box = torch.zeros(2, 32, 32, dtype=torch.bool)
    box[0, :4] = True
    audio = step._mixed(state, replace(batch.unlabeled, box=box), torch.tensor([1, 0])).audio
    torch.testing.assert_close(audio[0], batch.unlabeled.audio.mean(dim=0))
    assert torch.equal(audio[1], batch.unlabeled.audio[1])


def test_a_teacher_in_training_mode_makes_another_own_mask(recipe_of: Make, tmp_path: Path) -> None:
    state, batch = ready(recipe_of, tmp_path)
    assert batch.unlabeled is not None
    partner = torch.tensor([1, 0])
    calm, _ = step._target(state, batch.unlabeled, partner)
    other, other_batch = ready(recipe_of, tmp_path, "ufe", "teacher.mode=train")
    assert other_batch.unlabeled is not None
    lively, _ = step._target(other, other_batch.unlabeled, partner)
    box = batch.unlabeled.box[:, None].expand_as(calm)
    torch.testing.assert_close(lively[box], calm[box])
    assert not torch.allclose(lively[~box], calm[~box])
    assert other.student.training


@pytest.mark.parametrize("row", ["ufe", "avs"])
def test_a_few_steps_lower_the_loss_and_every_parameter_learns(recipe_of: Make, tmp_path: Path, row: str) -> None:
    state, batch = ready(recipe_of, tmp_path, row)
    optimizer = torch.optim.Adam(state.student.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = train_step(state, batch)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    without = [name for name, parameter in state.student.named_parameters() if parameter.grad is None]
    assert without == []


def test_the_backbone_is_frozen_for_its_epochs(recipe_of: Make, tmp_path: Path) -> None:
    state, batch = ready(recipe_of, tmp_path, "plain", "train.freeze_epochs=1")
    state.begin_step(0, 0)
    train_step(state, batch)["loss"].backward()
    backbone = state.student.network.backbone
    assert all(parameter.grad is None for parameter in backbone.parameters())
    state.begin_step(1, 2)
    train_step(state, batch)["loss"].backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_an_averaged_teacher_follows(recipe_of: Make, tmp_path: Path) -> None:
    state, _ = ready(recipe_of, tmp_path, "ufe", "train.ema_decay=0.75")
    assert state.teacher is not None
    name, parameter = next(iter(state.student.named_parameters()))
    before = state.teacher.get_parameter(name).clone()
    with torch.no_grad():
        parameter += 1
    state.after_step()
    torch.testing.assert_close(state.teacher.get_parameter(name), before + 0.25)


def test_parts_of_a_batch_give_gradients_where_no_norm_mixes_them(recipe_of: Make, tmp_path: Path) -> None:
    grads = []
    for parts in ("1", "2"):
        state, batch = ready(recipe_of, tmp_path, "plain", f"train.accumulate={parts}")
        state.student.eval()  # batch norms see less of a part; without them both are the same
        state.begin_step = lambda *_: None  # type: ignore[method-assign]
        train_step(state, batch)["loss"].backward()
        grads.append(torch.cat([p.grad.flatten() for p in state.student.parameters() if p.grad is not None]))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-6)
