"""The inputs of a parsing step and of its evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from asgmcli.train.batches import Precomputed


@dataclass(frozen=True)
class Batch(Precomputed):
    """Windows of ten seconds.

    Attributes:
        ids: of their clips.
        audio: float32 [B, T, A], features of the sound.
        image: [B, T, I], of the picture.
        motion: [B, T, M], of the motion.
        target: [B, C] of 0 and 1, the bag of labels.
    """

    ids: list[str]
    audio: Tensor
    image: Tensor
    motion: Tensor
    target: Tensor


@dataclass(frozen=True)
class JudgedBatch:
    """Windows and what is known of them.

    Attributes:
        inputs: what the network is given.
        places: of the windows within their clips.
        events: bool [B, 2, C, T], heard and seen in each second; None where that is not known.
        real: bool [B, T], seconds that are of the clip.
    """

    inputs: Batch
    places: list[int]
    events: Tensor | None
    real: Tensor

    @property
    def ids(self) -> list[str]:
        """Return the clips' ids."""
        return self.inputs.ids
