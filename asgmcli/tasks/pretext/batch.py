"""The inputs of a pretext step and of its evaluation; of one sample every tensor lacks its first dimension."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from asgmcli.train.batches import Precomputed


@dataclass(frozen=True)
class Inputs:
    """All that the network sees and hears of B clips; a sense that it lacks is [B, 0].

    Attributes:
        video: uint8 [B, T, 3, S, S].
        sound: float32, the log-mel [B, L, M], for a localizer the wave [B, samples], for backbones a log-mel patch
            [B, 96, 64].
        kept: int64 [B, n], the cells that the network is to see; None for all.
    """

    video: Tensor
    sound: Tensor
    kept: Tensor | None = None


@dataclass(frozen=True)
class Truth:
    """The content of B clips.

    Attributes:
        places: float32 [B, A, T, 3], where each sprite is: x, y, radius in frame sides, NaN where there is none.
        cast: int64 [B, A, 2], shape (or glyph) and motion of each sprite, -1 where there is none.
        shapes: float32 [B, shapes], 1 where the clip has one such.
        motions: float32 [B, motions], likewise.
        timbre: int64 [B].
        envelope: int64 [B].
    """

    places: Tensor
    cast: Tensor
    shapes: Tensor
    motions: Tensor
    timbre: Tensor
    envelope: Tensor


@dataclass(frozen=True)
class Batch(Precomputed):
    """Generated clips."""

    ids: list[str]
    inputs: Inputs
    truth: Truth
