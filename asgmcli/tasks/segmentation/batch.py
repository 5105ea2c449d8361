"""The inputs of a segmentation step and of its evaluation; of one sample every tensor lacks its first dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from asgmcli.data.loader import collate


@dataclass(frozen=True)
class Labeled:
    """Weak views with masks.

    Attributes:
        image: uint8 [B, T, 3, S, S].
        flow: float32 [B, T, 2, S, S] in 0..1; None where the network reads none.
        audio: float32 [B, T, A].
        mask: bool [B, T, S, S].
        counted: bool [B, T, S, S], the pixels that losses count.
        known: bool [B, T], which frames have a mask.
    """

    image: Tensor
    flow: Tensor | None
    audio: Tensor
    mask: Tensor
    counted: Tensor
    known: Tensor


@dataclass(frozen=True)
class Unlabeled:
    """Weak and strong views of the same crop.

    Attributes:
        weak: uint8 [B, T, 3, S, S].
        strong: uint8 [B, T, 3, S, S], before CutMix.
        flow: float32 [B, T, 2, S, S] in 0..1; None where the network reads none.
        audio: float32 [B, T, A].
        counted: bool [B, T, S, S], the pixels that losses count.
        box: bool [B, S, S], what CutMix takes from the partner.
        mask: bool [B, T, S, S], the truth where it is known; only measured, never trained on.
        known: bool [B, T], where it is.
    """

    weak: Tensor
    strong: Tensor
    flow: Tensor | None
    audio: Tensor
    counted: Tensor
    box: Tensor
    mask: Tensor
    known: Tensor


@dataclass(frozen=True)
class Batch:
    """One step's samples; a sample has one of the two."""

    ids: list[str]
    failures: list[str]
    labeled: Labeled | None
    unlabeled: Unlabeled | None


@dataclass(frozen=True)
class EvaluationBatch:
    """Windows of neighbouring frames, whole.

    Attributes:
        ids: of the clips.
        first: int64 [B], each window's first frame in its clip.
        image: uint8 [B, T, 3, S, S].
        flow: float32 [B, T, 2, S, S] in 0..1; None where the network reads none.
        audio: float32 [B, T, A].
        other: float32 [B, T, A], another clip's sound; None where masks are not judged with it.
        mask: bool [B, T, S, S].
        known: bool [B, T], which frames have a mask.
    """

    ids: list[str]
    first: Tensor
    image: Tensor
    flow: Tensor | None
    audio: Tensor
    other: Tensor | None
    mask: Tensor
    known: Tensor


def join(samples: Sequence[Batch]) -> Batch:
    """Join one step's samples of both streams."""
    labeled = [sample.labeled for sample in samples if sample.labeled is not None]
    unlabeled = [sample.unlabeled for sample in samples if sample.unlabeled is not None]
    return Batch(
        [name for sample in samples for name in sample.ids],
        [text for sample in samples for text in sample.failures],
        collate(labeled) if labeled else None,
        collate(unlabeled) if unlabeled else None,
    )
