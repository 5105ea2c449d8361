"""The inputs of a localization step and of its evaluation; of one sample every tensor lacks its first dimension."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from asgmcli.data.boxes import FrameBoxes


@dataclass(frozen=True)
class Pairs:
    """Pictures, uint8 [B, 3, S, S], each with the sound around it, float32 [B, samples]."""

    image: Tensor
    wave: Tensor


@dataclass(frozen=True)
class Batch:
    """Pairs that both networks are trained on.

    Attributes:
        ids: of the clips.
        failures: what could not be decoded and was replaced.
        pairs: augmented pictures and their sounds.
        masks: float32 [B, 4] in 0..1: width and place of the band of frequencies and of the span of time to mask.
    """

    ids: list[str]
    failures: list[str]
    pairs: Pairs
    masks: Tensor


@dataclass(frozen=True)
class FrozenBatch:
    """Pairs that projections alone are trained on: their trunks' features are computed once in the run.

    Attributes:
        ids: of the clips.
        failures: what could not be decoded and was replaced.
        frame: int64 [B], which frame of its clip each is.
        read: bool [B], which were read; the features of the others were known.
        pairs: whole frames and their sounds, of the n that were read; None where n is 0.
    """

    ids: list[str]
    failures: list[str]
    frame: Tensor
    read: Tensor
    pairs: Pairs | None


@dataclass(frozen=True)
class BoxBatch:
    """Pairs to be evaluated.

    Attributes:
        ids: of the clips.
        frame: int64 [B], which frame of its clip each is.
        boxes: of each frame.
        pairs: whole frames and their sounds.
    """

    ids: list[str]
    frame: Tensor
    boxes: list[FrameBoxes]
    pairs: Pairs
