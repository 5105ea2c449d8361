"""Cost of a recognition run: see `asgmcli.train.cost`. The mask's frozen guide and the loss are not counted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition.data import check_epoch, divide, plan_of
from asgmcli.tasks.recognition.model import ASGMFormer, build_network
from asgmcli.tasks.recognition.views import labeled_rows
from asgmcli.train.cost import Counts, Decoded, Needs, Open, SizeOf, needs_of
from asgmcli.train.trace import TracedWork, trace

EPOCHS = ("labeled", "unlabeled")
"""What `train.epoch` may pass over."""
COPIES = 2
"""Networks in a checkpoint: student and teacher."""


def count(recipe: RecognitionRecipe, open_: Open) -> Counts:
    """Count labelled, unlabelled and evaluated clips.

    Raises:
        DataError: no manifest, or too few clips of a kind.
    """
    manifest = open_(recipe.data)
    labeled, unlabeled = divide(recipe, manifest)
    check_epoch(recipe, manifest, len(labeled))
    evaluated = labeled_rows(manifest, recipe.data.eval_split)
    return _counts(recipe, len(manifest.classes), len(labeled), len(unlabeled), len(evaluated))


def expected(recipe: RecognitionRecipe, size_of: SizeOf) -> Counts | None:
    """Return the counts that there will be, where the data set's size is known."""
    size, split = size_of(recipe.data), recipe.data.eval_split
    if size is None or recipe.data.train_split not in size.clips or split not in size.clips:
        return None
    clips, per_class = size.clips[recipe.data.train_split], recipe.data.labeled_per_class
    labeled = clips if per_class is None else min(clips, per_class * size.classes)
    unlabeled = labeled if recipe.data.unlabeled == "labeled" else clips - labeled
    return _counts(recipe, size.classes, labeled, unlabeled, size.clips[split], size.known_from)


def _counts(
    recipe: RecognitionRecipe, classes: int, labeled: int, unlabeled: int, evaluated: int, known_from: str = ""
) -> Counts:
    clips = {"labeled": labeled, "unlabeled": unlabeled, "evaluated": evaluated}
    views = evaluated * recipe.evaluate.clips * (recipe.evaluate.crops if recipe.sees else 1)
    light = recipe.train.supervised_epochs if recipe.semi_supervised else 0
    steps = {kind: plan_of(_with_epoch(recipe, kind), labeled, unlabeled).steps for kind in EPOCHS}
    otherwise = {f"train.epoch={kind}": count for kind, count in steps.items() if kind != recipe.train.epoch}
    return Counts(clips, classes, steps[recipe.train.epoch], views, light, known_from, otherwise=otherwise)


def _with_epoch(recipe: RecognitionRecipe, kind: str) -> RecognitionRecipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"epoch": kind})})


def decoded(recipe: RecognitionRecipe) -> Decoded | None:
    """Return what of the clips is kept decoded on disk."""
    return Decoded(recipe.clip.short_side[1], recipe.listens, sound=False) if recipe.data.share_decoded else None


def network(recipe: RecognitionRecipe, classes: int) -> ASGMFormer:
    """Return the network in training mode, on torch's default device."""
    return build_network(recipe, classes, recipe.audio.length if recipe.listens else 0).train()


def needs(recipe: RecognitionRecipe, classes: int) -> Needs:
    """Count parameters, memory and operations."""
    full, light, view = _works(recipe, classes)
    width = recipe.model.video.dim
    return needs_of(network(recipe, classes), recipe.train, full, view, width, light=light, copies=COPIES)


def _works(recipe: RecognitionRecipe, classes: int) -> list[TracedWork]:
    """Return the whole step, the supervised one, and a view."""
    model = network(recipe, classes)
    batch = recipe.train.batch
    unlabeled = batch * recipe.train.unlabeled_ratio if recipe.semi_supervised else 0
    mixed = unlabeled if recipe.mixed else 0

    def step(labeled: int, unlabeled: int, mixed: int) -> Callable[[], Tensor]:
        def work() -> Tensor:
            if unlabeled:
                with torch.no_grad():
                    model(*_clips(recipe, model, unlabeled))  # the teacher, of the same size
            video, audio = _clips(recipe, model, labeled + unlabeled)
            tokens = model.embed(video) if video is not None else None
            if mixed and video is not None and tokens is not None and model.mixes_pixels:
                tokens = torch.cat([tokens, model.embed(video[labeled:])])
            elif mixed and video is not None and tokens is not None:
                strong = tokens[labeled:]
                shown = model.embed(video[labeled:]) if recipe.whole_partner else strong
                keep = torch.empty(strong.shape[:3], dtype=torch.bool)
                tokens = torch.cat([tokens, torch.where(keep[..., None], strong, shown.roll(1, 0))])
            if mixed:
                audio = audio if audio is None else torch.cat([audio, audio[labeled:]])
            return model.classify(tokens, audio).logits

        return work

    full = trace(step(batch, unlabeled, mixed), recipe.train.precision)
    supervised = trace(step(batch, 0, 0), recipe.train.precision)

    def evaluation() -> Tensor:
        """Count both judged networks, student and teacher: a second pass of the same network stands for the other's."""
        return torch.stack([model(*_clips(recipe, model, 1)) for _ in range(COPIES)])

    view = trace(evaluation, recipe.train.precision, backward=False)
    return [full, supervised, view]


def _clips(recipe: RecognitionRecipe, model: ASGMFormer, clips: int) -> tuple[Tensor | None, Tensor | None]:
    """Return normalised video [B, 3, T, H, W] and log-mel [B, L, M] of so many clips."""
    clip = recipe.clip
    video = (
        None
        if model.video is None
        else model.normalise(torch.empty(clips, clip.frames, 3, clip.size, clip.size, dtype=torch.uint8))
    )
    audio = torch.empty(clips, recipe.audio.length, recipe.audio.mels) if model.audio is not None else None
    return video, audio
