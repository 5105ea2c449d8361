"""The inputs of a localization step and of its evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from asgmcli.train.batches import Precomputed


@dataclass(frozen=True)
class Batch(Precomputed):
    """Windows, whose features the state holds.

    Attributes:
        ids: of their clips.
        windows: int64 [B], numbers of the windows.
        labels: int64 [B, T], the class of each segment, -1 beyond the clip; all -1 under weak supervision.
        category: int64 [B], the class of the clip, which weak supervision trains by; -1 where it is not to be known.
    """

    ids: list[str]
    windows: Tensor
    labels: Tensor
    category: Tensor
