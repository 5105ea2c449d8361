"""One training step of ASGM-Former: L = L_s + γ1 L_u + γ2 L_mix + γ3 L_c (Eq. 21), one student forward.

The patch embedding works a frame (or a tubelet), so that the warped view's tokens are those of the strong view, picked
by it: each unlabelled clip is embedded once for the strong view and for both of its parts in mixtures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.losses.contrastive import visual_audio_contrastive
from asgmcli.losses.fixmatch import consistency, sharpened
from asgmcli.losses.mixup import mixup, mixup_target
from asgmcli.masks.block import block_mask
from asgmcli.masks.heatmap import heatmap_mask
from asgmcli.masks.mix import draw_lambda, mix_audio, mix_pixels, mix_tokens, partners
from asgmcli.masks.tube import tube_mask
from asgmcli.metrics.pseudo_label import pseudo_label_quality
from asgmcli.ranks.exchange import gather_rows, own_rank, own_rows
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition.batch import Batch, Labeled, Unlabeled
from asgmcli.tasks.recognition.controls import controlled_maps, controlled_share, drawing_maps
from asgmcli.tasks.recognition.model import ASGMFormer, RecognitionState
from asgmcli.train.seed import step_generator


@dataclass(frozen=True)
class PseudoLabels:
    """The teacher's probabilities [B, K] on the weak views, and which clips pass the threshold [B]."""

    probabilities: Tensor
    passes: Tensor


@dataclass(frozen=True)
class StrongViews:
    """Tokens [B, T, N, D] of the strong views, those that they show as the second clip of a mixture, and their pixels
    [B, 3, T, H, W], normalised, without the channels that they lose; `whole` are the pixels that they show as the
    second clip, where clips are mixed before a stem whose tokens overlap."""

    tokens: Tensor
    as_partner: Tensor
    normalised: Tensor
    whole: Tensor | None = None


@dataclass(frozen=True)
class Mixture:
    """Mixed tokens [B, T, N, D] and log-mel [B, L, M] (None for a sense that the network lacks), partners [B] in the
    batch, and A's share of the mixture: λ = n / N, a constant, or [B] by what is left of each source
    (`losses.mixup.target`); of sound alone λ as it is drawn.
    """

    tokens: Tensor | None
    audio: Tensor | None
    partner: Tensor
    weight: float | Tensor


def train_step(state: RecognitionState, batch: Batch) -> dict[str, Tensor]:
    """Return the loss terms of one batch; `loss` is the one to minimise.

    Args:
        state: of the run; the thresholds' status is updated.
        batch: on the device of the networks.
    """
    recipe, student = state.recipe, state.student
    labeled, unlabeled = batch.labeled, batch.unlabeled
    if unlabeled is None:
        return _supervised_step(state, labeled)
    pseudo, everyone = _pseudo_labels(state, unlabeled)
    count, extra = len(labeled.label), len(unlabeled.number)
    tokens, views = _embed(state, labeled, unlabeled) if recipe.sees else (None, None)
    parts, sounds = [tokens], [labeled.audio, unlabeled.strong_audio]
    mixture = None
    if recipe.losses.mixup.weight > 0:
        mixture = _mix(state, unlabeled, views)
        parts.append(mixture.tokens)
        sounds.append(mixture.audio)
    prediction = student.classify(_join(parts), _join(sounds) if student.audio is not None else None)
    on_labeled, on_strong, on_mixed = prediction.logits.split([count, extra, len(prediction.logits) - count - extra])

    labels = _labels(state, pseudo)
    terms = {"supervised": F.cross_entropy(on_labeled.float(), labeled.label)}
    loss = terms["supervised"]
    terms["unlabeled"] = consistency(on_strong, labels, pseudo.passes)
    loss = loss + recipe.losses.unlabeled.weight * terms["unlabeled"]
    if mixture is not None:
        whose = pseudo if recipe.losses.mixup.labels != "given" else _given(unlabeled, pseudo)
        terms["mixup"] = _mixup_loss(state, on_mixed, whose, mixture)
        loss = loss + recipe.losses.mixup.weight * terms["mixup"]
    if recipe.losses.contrastive.weight > 0 and prediction.audio is not None and prediction.video is not None:
        temperature = recipe.losses.contrastive.temperature
        compared = count + extra if recipe.losses.contrastive.clips == "unmixed" else None
        faces, heard = gather_rows(prediction.video[:compared]), gather_rows(prediction.audio[:compared])
        terms["contrastive"] = visual_audio_contrastive(faces, heard, temperature)
        loss = loss + recipe.losses.contrastive.weight * terms["contrastive"]
    shown = _pseudo_label_terms(everyone, gather_rows(unlabeled.label))
    return {"loss": loss, **terms, "labeled_accuracy": _accuracy(on_labeled, labeled.label), **shown}


def _embed(state: RecognitionState, labeled: Labeled, unlabeled: Unlabeled) -> tuple[Tensor, StrongViews]:
    """Return tokens of the labelled clips and of the strong views, and what mixtures take of these."""
    recipe, student = state.recipe, state.student
    whole = student.normalise(unlabeled.strong)
    strong = drop_channels(whole, unlabeled.dropped, student, recipe)
    tokens = student.embed(torch.cat([_seen(state, labeled), strong]))
    first = tokens[len(labeled.label) :]  # one slice: two would add up gradients in another order
    if student.mixes_pixels:
        return tokens, StrongViews(first, first, strong, whole if recipe.whole_partner else strong)
    return tokens, StrongViews(first, student.embed(whole) if recipe.whole_partner else first, strong)


def _seen(state: RecognitionState, labeled: Labeled) -> Tensor:
    """Return the labelled clips [B, 3, T, H, W], normalised, a strong view without the channels that it loses."""
    video = state.student.normalise(labeled.video)
    return video if labeled.dropped is None else drop_channels(video, labeled.dropped, state.student, state.recipe)


def _given(unlabeled: Unlabeled, pseudo: PseudoLabels) -> PseudoLabels:
    """Return the clips' own labels in the place of the teacher's."""
    probabilities = F.one_hot(unlabeled.label, pseudo.probabilities.shape[1]).to(pseudo.probabilities.dtype)
    return PseudoLabels(probabilities, torch.ones_like(pseudo.passes))


def _labels(state: RecognitionState, pseudo: PseudoLabels) -> Tensor:
    """Return what L_u asks of the strong views: labels [B], or soft ones [B, K]."""
    settings = state.recipe.losses.unlabeled
    if settings.labels == "soft":
        return sharpened(pseudo.probabilities, settings.temperature)
    return pseudo.probabilities.argmax(dim=1)


def _join(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Join what is there, in the first part's numbers; None where nothing is."""
    there = [part for part in parts if part is not None]
    return torch.cat([part.to(there[0].dtype) for part in there]) if there else None


def _supervised_step(state: RecognitionState, labeled: Labeled) -> dict[str, Tensor]:
    """Return L_s alone: the supervised rows, and every row's first epochs."""
    student = state.student
    tokens = student.embed(_seen(state, labeled)) if state.recipe.sees else None
    prediction = student.classify(tokens, labeled.audio)
    loss = F.cross_entropy(prediction.logits.float(), labeled.label)
    accuracy = _accuracy(prediction.logits, labeled.label)
    return {"loss": loss, "supervised": loss.detach(), "labeled_accuracy": accuracy}


@torch.no_grad()
def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of right answers, 0..1: logits [B, K], labels [B]; only shown, never trained on."""
    return (logits.argmax(dim=1) == labels).float().mean()


@torch.no_grad()
def _pseudo_labels(state: RecognitionState, unlabeled: Unlabeled) -> tuple[PseudoLabels, PseudoLabels]:
    """Return those of this rank's clips, and of all ranks', which make up the thresholds' class status."""
    teacher = state.teacher
    video = teacher.normalise(unlabeled.weak) if state.recipe.sees else None
    logits = teacher(video, unlabeled.audio)
    probabilities = gather_rows(logits.float().softmax(dim=1))
    if state.alignment is not None:
        probabilities = state.alignment(probabilities)
    passes = state.threshold.select(gather_rows(unlabeled.number), probabilities)
    return PseudoLabels(own_rows(probabilities), own_rows(passes)), PseudoLabels(probabilities, passes)


def drop_channels(video: Tensor, dropped: Tensor, student: ASGMFormer, recipe: RecognitionRecipe) -> Tensor:
    """Return normalised clips [B, 3, T, H, W] without the channels that `dropped` [B, 3] marks.

    With `augment.channels` one a lost channel is black. With each it is the mean, and the others are scaled by
    1 / (1 - p), as torch's dropout of whole channels does.
    """
    gone, share = dropped.view(-1, 3, 1, 1, 1), recipe.augment.channel_dropout
    if recipe.augment.channels == "each":
        return torch.where(gone, torch.zeros((), dtype=video.dtype, device=video.device), video / max(1 - share, 1e-6))
    return torch.where(gone, (-student.mean / student.std).to(video.dtype), video)


@torch.no_grad()
def _maps(state: RecognitionState, unlabeled: Unlabeled, views: StrongViews, draw: torch.Generator) -> Tensor | None:
    """Return [B, T, h, w]: where each token's frames say that the sound comes from; None without a guide."""
    if not state.recipe.guided:
        return None
    if state.localizer is None:
        maps = unlabeled.maps
        assert maps is not None  # a guide without a localizer is known beforehand
    else:
        assert unlabeled.wave is not None
        assert state.recipe.localizer is not None
        seen = unlabeled.strong.transpose(1, 2).float() / 255
        if state.recipe.localizer.picture == "augmented":
            seen = views.normalised * state.student.std + state.student.mean
        maps = state.localizer.maps(seen, unlabeled.wave, unlabeled.wave_masks)
    # A token of several frames goes by their mean map.
    maps = maps.unflatten(1, (views.tokens.shape[1], -1)).mean(dim=2)
    return controlled_maps(state.recipe, maps, draw)


@torch.no_grad()
def _mask(
    state: RecognitionState,
    maps: Tensor | None,
    grid: tuple[int, int],
    shape: torch.Size,
    keep: float,
    draw: torch.Generator,
) -> Tensor:
    """Return bool [B, T, N]: the tokens of clip A that a mixture keeps, by maps [B, T, h, w]; None for random ones."""
    masks = state.recipe.masks
    if maps is None:
        batch, times, tokens = shape[:3]
        if masks.kind == "block":
            return block_mask(batch, times, grid, keep, draw)
        return tube_mask(batch, times, tokens, keep, draw)
    return heatmap_mask(
        maps,
        grid=grid,
        keep=keep,
        generator=draw,
        average_frames=masks.average_frames,
        sharpness=masks.sharpness,
    )


def _mix(state: RecognitionState, unlabeled: Unlabeled, views: StrongViews | None) -> Mixture:
    """Mix each unlabelled clip A with a partner B of the same batch (Eq. 7-8); B's view is warped in time.

    With several ranks λ is that of the global batch; partners and masks are each rank's own, and no token leaves it.

    Args:
        state: of the run.
        unlabeled: its batch.
        views: of its clips; None for sound alone.
    """
    masks = state.recipe.masks
    # λ and the partners are drawn first: rows that differ in their masks alone share both.
    draw = step_generator(state.recipe.seed, state.step)
    keep = draw_lambda(masks.alpha, masks.beta, draw)
    if own_rank():
        draw = step_generator(state.recipe.seed, state.step, own_rank())
    partner = partners(len(unlabeled.number), draw).to(unlabeled.number.device)
    settings = state.recipe.losses.mixup
    tokens: Tensor | None = None
    weight: float | Tensor = settings.constant if settings.target == "constant" else keep
    if views is not None:
        tokens, weight = _mix_pictures(state, unlabeled, views, keep, partner, draw)
    audio = unlabeled.strong_audio if state.student.audio is not None else None
    mixed_audio = mix_audio(audio, audio[partner], weight) if audio is not None else None
    return Mixture(tokens, mixed_audio, partner, weight)


def _mix_pictures(
    state: RecognitionState,
    unlabeled: Unlabeled,
    views: StrongViews,
    keep: float,
    partner: Tensor,
    draw: torch.Generator,
) -> tuple[Tensor, float | Tensor]:
    """Return mixed tokens [B, T, N, D], of which A keeps about the share `keep`, and A's share of the mixture."""
    tokens, warp, video = views.tokens, unlabeled.warp, state.student.video
    assert video is not None
    maps = _maps(state, unlabeled, views, draw)
    drawn_by = drawing_maps(state.recipe, maps, warp, partner)
    mask = _mask(state, drawn_by, video.grid, tokens.shape, keep, draw).to(tokens.device)
    weight = controlled_share(state.recipe, maps, video.grid, mask, warp, partner)
    weight = float(mask[0, 0].float().mean()) if weight is None else weight  # λ = n / N
    if views.whole is not None:
        shown = views.whole.gather(2, warp[:, None, :, None, None].expand_as(views.whole))
        return state.student.embed(mix_pixels(views.normalised, shown[partner], mask, video.grid)), weight
    warped = views.as_partner.gather(1, warp[:, :, None, None].expand_as(tokens))
    return mix_tokens(tokens, warped[partner], mask), weight


def _mixup_loss(state: RecognitionState, logits: Tensor, pseudo: PseudoLabels, mixture: Mixture) -> Tensor:
    """Return L_mix (Eq. 12)."""
    settings, partner = state.recipe.losses.mixup, mixture.partner
    given = settings.labels == "given"
    target, mask = mixup_target(
        pseudo.probabilities,
        pseudo.probabilities[partner],
        pseudo.passes,
        pseudo.passes[partner],
        mixture.weight,
        soft=given or settings.labels == "soft",
        threshold=state.recipe.thresholds.value if settings.mask == "mixture" and not given else None,
    )
    return mixup(logits, target, mask, space=settings.space)


def _pseudo_label_terms(pseudo: PseudoLabels, truth: Tensor) -> dict[str, Tensor]:
    """Return the share of clips whose label is used, its accuracy where the truth is known, and the teacher's mean
    confidence in all; only shown, never trained on.
    """
    quality = pseudo_label_quality(pseudo.passes, pseudo.probabilities.argmax(dim=1), truth)
    terms = {"pseudo_share": quality["used"] / 100}
    if bool(torch.isfinite(quality["accuracy"])):
        terms["pseudo_accuracy"] = quality["accuracy"] / 100
    terms["pseudo_confidence"] = pseudo.probabilities.amax(dim=1).mean()
    return terms
