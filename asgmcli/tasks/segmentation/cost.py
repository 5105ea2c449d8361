"""Cost of a segmentation run: see `asgmcli.train.cost`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asgmcli.data.frames import read_frames
from asgmcli.recipe.segmentation import SegmentationRecipe
from asgmcli.tasks.segmentation.data import divide, plan_of, windows_of
from asgmcli.tasks.segmentation.model import build_network
from asgmcli.tasks.segmentation.sounds import audio_dim
from asgmcli.train.cost import Counts, Needs, Open, SizeOf, needs_of
from asgmcli.train.trace import trace

COPIES = 2


def count(recipe: SegmentationRecipe, open_: Open) -> Counts:
    """Count samples, and windows that are judged.

    Raises:
        DataError: no manifest, no frames, or no mask to train on.
    """
    manifest = open_(recipe.data)
    frames = read_frames(manifest)
    labeled, unlabeled = divide(recipe, manifest, frames)

    def windows(split: str) -> int:
        clips = [frames[row.id] for row in manifest.of_split(split)]
        parts = [part for clip in clips for part in windows_of(clip, recipe.evaluate.frames)]
        return sum(any(frame.mask for frame in part) for part in parts)

    judged = windows(recipe.data.eval_split)
    validated = windows(recipe.data.val_split) if recipe.keeps_best else 0
    return _counts(recipe, len(labeled), len(unlabeled), judged, validated)


def expected(recipe: SegmentationRecipe, size_of: SizeOf) -> Counts | None:
    """Return the counts that there will be, where the data set's size is known: clips of five frames."""
    size = size_of(recipe.data)
    if size is None or recipe.data.train_split not in size.clips or recipe.data.eval_split not in size.clips:
        return None
    clips = size.clips[recipe.data.train_split]
    chosen, length = max(1, round(recipe.data.labeled_share * clips)), recipe.train.frames
    windows = -(-_FRAMES // length)
    used = 1 if recipe.data.labeled_frames == "first" else windows
    rest = clips if recipe.data.unlabeled == "rest" else chosen
    unlabeled = rest * windows - chosen * used if recipe.semi_supervised else 0
    validated = size.clips.get(recipe.data.val_split, 0) if recipe.keeps_best else 0
    judged = size.clips[recipe.data.eval_split]
    return _counts(recipe, chosen * used, max(unlabeled, 0), judged, validated, size.known_from)


_FRAMES = 5  # of a clip of AVSBench and of the demo


def _counts(
    recipe: SegmentationRecipe, labeled: int, unlabeled: int, judged: int, validated: int, known_from: str = ""
) -> Counts:
    clips = {"labeled": labeled, **({"unlabeled": unlabeled} if unlabeled else {}), "evaluated": judged}
    steps = plan_of(recipe, labeled, unlabeled).steps
    light = min(recipe.burn_in, recipe.train.epochs) if recipe.semi_supervised else 0
    return Counts(clips, 0, steps, judged, light, known_from, validated)


def network(recipe: SegmentationRecipe, classes: int) -> nn.Module:
    """Return the network in training mode, on torch's default device."""
    return build_network(recipe).train()


def needs(recipe: SegmentationRecipe, classes: int) -> Needs:
    """Count parameters, memory and operations: the teacher's forward, the student's step, a judged window."""
    model = build_network(recipe).train()
    batch, frames = recipe.train.batch, recipe.train.frames
    unlabeled = batch * recipe.train.unlabeled_ratio if recipe.semi_supervised else 0

    def step(more: int) -> Tensor:
        if more:
            with torch.no_grad():
                _run(recipe, model, more, frames)
        return _run(recipe, model, batch + more, frames)

    full = trace(lambda: step(unlabeled), recipe.train.precision)
    light = trace(lambda: step(0), recipe.train.precision)
    view = trace(lambda: _run(recipe, model, 1, recipe.evaluate.frames), recipe.train.precision, backward=False)
    copies = COPIES if unlabeled and recipe.train.ema_decay else 1
    return needs_of(model, recipe.train, full, view, recipe.model.channels, light=light, copies=copies)


def _run(recipe: SegmentationRecipe, model: nn.Module, clips: int, frames: int) -> Tensor:
    size = recipe.input.size
    image, audio = torch.empty(clips, frames, 3, size, size), torch.empty(clips, frames, audio_dim(recipe.audio))
    flow = torch.empty(clips, frames, 2, size, size) if recipe.reads_flow else None
    logits: Tensor = model(image, audio, flow).logits
    return logits
