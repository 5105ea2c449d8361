"""One training step: L = L_sup + λ L_unsup (UFE, Eq. 7), one student forward for labelled and strong views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.losses.audio_match import audio_match
from asgmcli.losses.consistency import mixed_target
from asgmcli.losses.dice import dice
from asgmcli.losses.mask_bce import mask_bce
from asgmcli.metrics.segmentation import mask_iou
from asgmcli.nn.tpavi import Segmented
from asgmcli.ranks.exchange import own_rank
from asgmcli.tasks.segmentation.batch import Batch, Labeled, Unlabeled
from asgmcli.tasks.segmentation.model import SegmentationState
from asgmcli.tasks.segmentation.watch import MASKED
from asgmcli.train.seed import step_generator


def train_step(state: SegmentationState, batch: Batch) -> dict[str, Tensor]:
    """Return the loss terms of one batch; `loss` is the one to minimise.

    Args:
        state: of the run.
        batch: on the device of the network.
    """
    labeled, unlabeled = batch.labeled, batch.unlabeled
    assert labeled is not None
    if unlabeled is None:
        found = state.student(labeled.image, labeled.audio, labeled.flow)
        terms = _supervised(state, found, labeled)
        return {"loss": terms["supervised"], **_shown(terms)}
    partner = _partners(state, len(unlabeled.weak))
    target, soft = _target(state, unlabeled, partner)
    strong = _mixed(state, unlabeled, partner)
    count = len(labeled.image)
    flow = None if labeled.flow is None or strong.flow is None else torch.cat([labeled.flow, strong.flow])
    both = state.student(torch.cat([labeled.image, strong.image]), torch.cat([labeled.audio, strong.audio]), flow)
    terms = _supervised(state, _part(both, slice(None, count)), labeled)
    on_strong = _part(both, slice(count, None))
    terms["unlabeled"] = _unlabeled(state, on_strong, target, strong.counted)
    loss = terms["supervised"] + state.recipe.losses.unlabeled.weight * terms["unlabeled"]
    return {"loss": loss, **_shown(terms), **_quality(soft, unlabeled)}


def mask_loss(state: SegmentationState, found: Segmented, target: Tensor, counted: Tensor, frames: Tensor) -> Tensor:
    """Return the loss of masks against `target` [B, T, S, S] on the frames where `frames` [B, T] is True.

    AVSegFormer's takes the channel mean of its mask feature, resized, as a second mask (Eq. 4).
    """
    settings = state.recipe.losses.mask
    logits, target, counted = found.logits[frames], target[frames].float(), counted[frames]
    loss = logits.new_zeros(())
    if settings.bce:
        loss = loss + settings.bce * mask_bce(logits, target, counted)
    if settings.dice:
        loss = loss + settings.dice * dice(logits, target, settings.squared, counted)
    weight = state.recipe.losses.feature.weight
    if state.recipe.model.kind == "avsegformer" and weight:
        mean = found.maps[0][frames].float().mean(dim=1, keepdim=True)
        mean = F.interpolate(mean, logits.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        loss = loss + weight * dice(mean, target, settings.squared, counted)
    return loss


def _supervised(state: SegmentationState, found: Segmented, labeled: Labeled) -> dict[str, Tensor]:
    loss = mask_loss(state, found, labeled.mask, labeled.counted, labeled.known)
    terms = {}
    weight = state.recipe.losses.match.weight
    if state.recipe.model.kind == "tpavi" and weight:
        terms["match"] = _match(state, found, labeled.counted, labeled.known)
        loss = loss + weight * terms["match"]
    return {"supervised": loss, **terms, MASKED: (found.logits > 0).float().mean()}


def _unlabeled(state: SegmentationState, found: Segmented, target: Tensor, counted: Tensor) -> Tensor:
    everything = torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)
    loss = mask_loss(state, found, target, counted, everything)
    weight = state.recipe.losses.match.unlabeled_weight
    if state.recipe.model.kind == "tpavi" and weight:
        loss = loss + weight * _match(state, found, counted, everything)
    return loss


def _match(state: SegmentationState, found: Segmented, counted: Tensor, frames: Tensor) -> Tensor:
    settings = state.recipe.losses.match
    maps, heard = [x[frames] for x in found.maps], [x[frames] for x in found.audio]
    loss = audio_match(maps, heard, found.logits[frames], settings.kind, "mean", counted[frames])
    return settings.frames * loss


def _partners(state: SegmentationState, count: int) -> Tensor:
    """Return a permutation int64 [B]: which sample each takes its box from."""
    draw = step_generator(state.recipe.seed, state.step, own_rank())
    return torch.randperm(count, generator=draw).to(state.device)


@torch.no_grad()
def _target(state: SegmentationState, unlabeled: Unlabeled, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Return the soft target of the mixed views [B, T, S, S] in 0..1 (Eq. 5-6), and the teacher's own masks."""
    teacher = state.student if state.teacher is None else state.teacher
    weak = (unlabeled.weak, unlabeled.audio, unlabeled.flow)
    box = unlabeled.box[:, None].expand_as(unlabeled.counted)
    teacher.eval()
    soft = teacher(*weak).logits
    target = mixed_target(soft, partner, box)
    if state.recipe.teacher.mode == "train":
        teacher.train()
        own = teacher(*weak).logits
        target = torch.where(box, target, own.float().sigmoid())
    state.student.train()
    return target, soft


def _mixed(state: SegmentationState, unlabeled: Unlabeled, partner: Tensor) -> Labeled:
    """Return the strong views with the partners' boxes in picture, flow and counted pixels; the sound by the recipe."""
    box = unlabeled.box[:, None]
    image = torch.where(box[:, :, None], unlabeled.strong[partner], unlabeled.strong)
    flow = unlabeled.flow
    if flow is not None:
        flow = torch.where(box[:, :, None], flow[partner], flow)
    counted = torch.where(box, unlabeled.counted[partner], unlabeled.counted)
    audio = unlabeled.audio
    if state.recipe.cutmix.sound == "both":
        has_box = unlabeled.box.flatten(1).any(dim=1)[:, None, None]
        audio = torch.where(has_box, (audio + audio[partner]) / 2, audio)
    return Labeled(image, flow, audio, unlabeled.mask, counted, unlabeled.known)


def _part(found: Segmented, rows: slice) -> Segmented:
    return Segmented(found.logits[rows], [x[rows] for x in found.maps], [x[rows] for x in found.audio])


def _shown(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in terms.items()}


@torch.no_grad()
def _quality(soft: Tensor, unlabeled: Unlabeled) -> dict[str, Tensor]:
    """Return the IoU of the teacher's masks with the truth, where that is known; only shown, never trained on."""
    if not bool(unlabeled.known.any()):
        return {}
    logits, truth = soft[unlabeled.known].float(), unlabeled.mask[unlabeled.known]
    seen = truth.flatten(1).any(dim=1)  # a crop may have lost the thing
    return {"pseudo_iou": mask_iou(logits[seen], truth[seen]).mean()} if bool(seen.any()) else {}
