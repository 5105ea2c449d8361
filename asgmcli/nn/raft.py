"""Optical flow by RAFT (Z. Teed, J. Deng, ECCV 2020): torchvision's networks with a weight file of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.nn.state import network_state, read_state

Array = np.ndarray[Any, np.dtype[Any]]
_CELL = 8  # pixels of a cell of its maps
_LEAST = 128  # pixels of a side that its pyramid of correlations needs


def raft(first: Array, second: Array, weights: str) -> Array:
    """Return the displacement of every pixel from one frame to another, float32 [2, H, W] in pixels (x, y).

    Args:
        first: uint8 [H, W, 3], RGB; sides are multiples of 8 from 128 on.
        second: of the same shape.
        weights: file, see `load_raft`.

    Raises:
        DataError: the weights cannot be read.
        ValueError: frames of different shapes, or of one that it does not take.
    """
    if first.shape != second.shape:
        raise ValueError(f"frames have {first.shape} and {second.shape}; flow needs two of one size")
    if any(side % _CELL or side < _LEAST for side in first.shape[:2]):
        raise ValueError(f"frames of {first.shape[1]}x{first.shape[0]}; RAFT takes multiples of {_CELL} from {_LEAST}")
    network = load_raft(weights)
    with torch.inference_mode():
        found: Tensor = network(_input(first), _input(second))[-1]
    return found[0].numpy()


@lru_cache(maxsize=1)
def load_raft(path: str) -> nn.Module:
    """Return raft_small or raft_large, whichever the file fits, in evaluation mode; kept for the next call.

    Raises:
        DataError: the file is missing, broken, or another network's.
    """
    from torchvision.models.optical_flow import raft_large, raft_small

    state = network_state(read_state(path), path)
    builders: tuple[Callable[[], nn.Module], ...] = (raft_small, raft_large)
    for build in builders:
        network = build()
        own = network.state_dict()
        if own.keys() == state.keys() and all(own[name].shape == value.shape for name, value in state.items()):
            network.load_state_dict(state)
            return network.eval()
    raise DataError(f"{path}: neither torchvision's raft_small nor its raft_large. Check the path.")


def _input(frame: Array) -> Tensor:
    """Return [1, 3, H, W] in -1..1."""
    return torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() / 127.5 - 1
