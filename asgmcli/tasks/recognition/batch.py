"""The inputs of a recognition step and of its evaluation; of one sample every tensor lacks its first dimension.

B clips of T frames of S x S pixels, a log-mel of L times M values.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Labeled:
    """Clips with a label.

    Attributes:
        video: uint8 [B, T, 3, S, S], weak or strong views; [B, 0] where the picture is not used, as in all batches.
        label: int64 [B].
        ids: of the clips.
        failures: what could not be decoded and was replaced.
        audio: float32 [B, L, M], None where the sound is not used; a strong view's with bands and spans masked.
        dropped: bool [B, 3], the colour channels that a strong view is to lose; None for weak ones.
    """

    video: Tensor
    label: Tensor
    ids: list[str]
    failures: list[str]
    audio: Tensor | None = None
    dropped: Tensor | None = None


@dataclass(frozen=True)
class Unlabeled:
    """Clips whose labels are not trained on.

    Attributes:
        weak: uint8 [B, T, 3, S, S].
        strong: uint8 [B, T, 3, S, S], before channel dropout, as the localizer sees it.
        dropped: bool [B, 3], the colour channels to drop.
        warp: int64 [B, T / tubelet], which of the tokens' times is shown at each.
        number: int64 [B], places in the unlabelled list.
        label: int64 [B], -1 where unknown; only reported.
        ids: of the clips.
        failures: what could not be decoded and was replaced.
        audio: float32 [B, L, M], None where the sound is not used.
        strong_audio: float32 [B, L, M], the same with bands and spans masked.
        wave: float32 [B, samples], what a localizer listens to, None without one that does.
        wave_masks: float32 [B, 4], the band of frequencies (Hz) and the span of time (s) that a localizer does not
            hear, each from and to; None where it hears all.
        maps: float32 [B, T, h, w], what a guide known beforehand saw, on the strong view; None without one.
    """

    weak: Tensor
    strong: Tensor
    dropped: Tensor
    warp: Tensor
    number: Tensor
    label: Tensor
    ids: list[str]
    failures: list[str]
    audio: Tensor | None = None
    strong_audio: Tensor | None = None
    wave: Tensor | None = None
    wave_masks: Tensor | None = None
    maps: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """The clips of one step; `unlabeled` is None in supervised epochs and rows."""

    labeled: Labeled
    unlabeled: Unlabeled | None

    @property
    def ids(self) -> list[str]:
        """Return the ids of all clips, the labelled first."""
        return self.labeled.ids + (self.unlabeled.ids if self.unlabeled is not None else [])

    @property
    def failures(self) -> list[str]:
        """Return what could not be decoded and was replaced."""
        return self.labeled.failures + (self.unlabeled.failures if self.unlabeled is not None else [])


@dataclass(frozen=True)
class EvaluationBatch:
    """Clips to be evaluated, each in V = clips x crops views.

    Attributes:
        video: uint8 [B, V, T, 3, S, S].
        label: int64 [B].
        ids: of the clips.
        splits: of the clips.
        audio: float32 [B, V, L, M], None where the sound is not used.
    """

    video: Tensor
    label: Tensor
    ids: list[str]
    splits: list[str]
    audio: Tensor | None = None
