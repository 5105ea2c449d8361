"""Sections on what is read of a clip, its frames and sound, and how both are changed for training."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from asgmcli.recipe.bounds import (
    Batch,
    Frames,
    MaskWidth,
    Mels,
    Operations,
    Pixels,
    PositiveFloat,
    Rate,
    Seconds,
    Share,
    Stride,
    Views,
)
from asgmcli.recipe.sections import Section


class ClipSize(Section):
    """Size of the clips that a network sees."""

    frames: Frames = 8
    """Frames of a clip."""
    stride: Stride = 8
    """Frames of the video from one frame of the clip to the next."""
    size: Pixels = 224
    """Side of the square picture, pixels."""


class Clip(ClipSize):
    """Frames of a training or evaluation clip, and how they are read."""

    short_side: tuple[Pixels, Pixels] = Field((256, 320), strict=False)
    """Range of the short side that a frame is resized to before its random crop, pixels."""
    fps: Rate | None = None
    """Frames a second that `frames` and `stride` count in whatever the file's rate is, so that a clip has the same
    seconds in every file: `frames` spread over frames x stride / fps seconds (SVFormer's released code: 30). null
    counts the file's own frames."""
    backend: Literal["pyav", "decord"] = "pyav"
    """Library that decodes video."""

    @model_validator(mode="after")
    def _range(self) -> Clip:
        if not self.size <= self.short_side[0] <= self.short_side[1]:
            raise ValueError("short_side is [low, high] with size <= low <= high")
        return self


class Sound(Section):
    """The log-mel filter bank of a clip's sound."""

    seconds: Seconds = 4.0
    """Sound of a clip, s."""
    mels: Mels = 128
    """Mel bands."""

    @property
    def length(self) -> int:
        """Return L, time steps of 10 ms: the sound's hops rounded up to a multiple of 16 (docs/METHOD.md)."""
        return max(math.ceil(round(self.seconds * 16000) / 160 / 16), 1) * 16


class Audio(Sound):
    """The log-mel filter bank of a clip's sound, and its normalisation."""

    inside: bool = False
    """Move the sound back into the file where, centred on the frames, it would reach beyond; else silence fills it."""
    mean: float | None = None
    """Mean of the log-mel values; measured on the training clips where left out."""
    std: PositiveFloat | None = None
    """Their standard deviation; goes with `mean`."""

    @model_validator(mode="after")
    def _both(self) -> Audio:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or neither: then both are measured on the training clips")
        return self


class SoundAugment(Section):
    """SpecAugment on the sound."""

    frequency_mask: MaskWidth = 24
    """Widest band of SpecAugment, mel bands."""
    time_mask: MaskWidth = 40
    """Longest span of SpecAugment, time steps of 10 ms."""


class Augment(SoundAugment):
    """Strong views: RandAugment and channel dropout on the picture, SpecAugment on the sound (docs/METHOD.md)."""

    flip: Share = 0.5
    """Share of views, weak and strong, that are mirrored."""
    weak_flip: Share | None = None
    """Share of the weak views of unlabelled clips that are mirrored, on which the teacher gives labels; null: `flip`
    (SVFormer's released code: 0)."""
    operations: Operations = 2
    """Operations of RandAugment in a strong view; 0 leaves it out."""
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of RandAugment."""
    geometric: bool = True
    """Let RandAugment move things in the picture; it never does where maps made beforehand must fit."""
    channel_dropout: Share = 0.2
    """Share of strong views that lose a colour channel, or of channels that are lost; see `channels`."""
    channels: Literal["one", "each"] = "one"
    """What is lost: `one` channel of a view, to black, in mixtures too; or `each` channel by itself, to the mean, the
    others times 1 / (1 - share), and never in a mixture's second clip (SVFormer's released code)."""
    temporal_warp: bool = True
    """Warp the time of a mixture's second clip."""
    warp_filler: Literal["nearest", "random"] = "nearest"
    """What a warp shows between two kept frames: the nearest of them, or the first up to a random place and then the
    second (SVFormer's released code)."""
    labeled: Literal["weak", "strong"] = "weak"
    """Views of labelled clips: `weak`, cropped and mirrored alone, or `strong` ones, as of unlabelled clips."""


class Evaluate(Section):
    """Views of a video that its evaluation averages: clips spread over it, times crops of each."""

    clips: Views = 5
    """Clips spread over each video."""
    crops: Literal[1, 3] = 3
    """Crops of each clip: the centre, or three along the longer side."""
    starts: Literal["inclusive", "exclusive"] = "inclusive"
    """Where clips begin: evenly from the video's start to the last start that fits, with it or without (SVFormer's
    released code: exclusive)."""
    batch: Batch = 8
    """Videos evaluated at once."""


class RecognitionEvaluate(Evaluate):
    """Views of a video that its evaluation averages, and which of the two networks the result is of."""

    network: Literal["student", "teacher"] = "teacher"
    """Whose figures are `top1` and `top5` and whose weights are model.safetensors (SVFormer's released code: the
    student). The other's stand beside them under its name."""
