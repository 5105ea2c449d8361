"""The inputs of a representation step and of its evaluation; of one sample every tensor lacks its first dimension."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SeenHeard:
    """Pictures and sounds of B windows.

    Attributes:
        frames: uint8 [B, T, 3, S, S]; of an evaluation [B, draws, T, 3, S, S].
        patches: log-mel, float32 [B, T, 1, 96, 64].
    """

    frames: Tensor
    patches: Tensor


@dataclass(frozen=True)
class Batch:
    """Windows to train on.

    Attributes:
        ids: of their clips.
        failures: what could not be decoded and was replaced.
        windows: int64 [B], numbers of the windows.
        draws: int64 [B, T], which frame of each second is taken.
        inputs: None where backbones are frozen: their features are known.
    """

    ids: list[str]
    failures: list[str]
    windows: Tensor
    draws: Tensor
    inputs: SeenHeard | None


@dataclass(frozen=True)
class WholeBatch:
    """Windows to be encoded.

    Attributes:
        ids: of their clips.
        windows: int64 [B], numbers of the windows.
        inputs: None where backbones are frozen: their features are known.
    """

    ids: list[str]
    windows: Tensor
    inputs: SeenHeard | None
