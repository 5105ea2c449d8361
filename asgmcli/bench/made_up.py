"""A training step on random clips, to measure time, memory and operations without data or weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition.batch import Batch, Labeled, Unlabeled
from asgmcli.tasks.recognition.model import RecognitionState, assemble, build_network, make_threshold


@dataclass(frozen=True)
class MadeUpData:
    """The data that a state needs to be built: class names, and the length of the log-mel."""

    classes: list[str]
    mel_statistics: LogMelStatistics | None
    length: int


def made_up_state(recipe: RecognitionRecipe, classes: int, device: torch.device) -> RecognitionState:
    """Build the initial state of a run of `recipe` (with a tube mask), with random weights."""
    length = recipe.audio.length if recipe.listens else 0
    data = MadeUpData([f"class {number}" for number in range(classes)], None, length)
    student = build_network(recipe, classes, length).to(device)
    threshold = make_threshold(recipe.thresholds, max(1, recipe.train.batch * recipe.train.unlabeled_ratio), classes)
    return assemble(recipe, student, threshold, None, data, device)


def made_up_batch(recipe: RecognitionRecipe, classes: int, labeled: int, unlabeled: int, device: torch.device) -> Batch:
    """Return random pixels and sound for one step of `recipe`, shaped like its loader's batches.

    `unlabeled` is None without unlabelled clips.
    """
    draw = torch.Generator().manual_seed(0)
    clip = recipe.clip

    def frames(clips: int) -> torch.Tensor:
        shape = (clips, clip.frames, 3, clip.size, clip.size)
        return torch.randint(256, shape, dtype=torch.uint8, generator=draw).to(device)

    def sound(clips: int) -> torch.Tensor:
        return torch.randn(clips, recipe.audio.length, recipe.audio.mels, generator=draw).to(device)

    def names(clips: int) -> list[str]:
        return [f"clip {number}" for number in range(clips)]

    stream = Labeled(
        frames(labeled), torch.randint(classes, (labeled,), generator=draw).to(device), names(labeled), failures=[]
    )
    positions = clip.frames // recipe.model.video.tubelet
    other = Unlabeled(
        weak=frames(unlabeled),
        strong=frames(unlabeled),
        dropped=(torch.rand(unlabeled, 3, generator=draw) < recipe.augment.channel_dropout / 3).to(device),
        warp=torch.arange(positions).expand(unlabeled, -1).to(device),
        number=torch.arange(unlabeled).to(device),
        label=torch.full((unlabeled,), -1).to(device),
        ids=names(unlabeled),
        failures=[],
    )
    if recipe.listens:
        stream = replace(stream, audio=sound(labeled))
        other = replace(other, audio=sound(unlabeled), strong_audio=sound(unlabeled))
    return Batch(stream, other if unlabeled and recipe.semi_supervised else None)
