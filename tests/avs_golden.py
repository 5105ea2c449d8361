"""Inputs, weights and outputs of the reference implementations of audio-visual segmentation, for tests."""

from __future__ import annotations

import runpy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"
_INPUTS = runpy.run_path(str(FOLDER / "avs_inputs.py"))
TOLERANCE = 2e-4
"""Of the value's spread; the reference's own float32 differs from its float64 by 1e-5."""


def golden(name: str) -> Any:
    """Outputs of one reference module by name."""
    return np.load(FOLDER / f"avs_{name}.npz")


def array(seed: int, *shape: int) -> Tensor:
    """Standard-normal float32 tensor of `shape`."""
    return torch.as_tensor(_INPUTS["array"](seed, *shape))


@lru_cache(maxsize=1)
def weights(name: str, seed: int, prefix: str = "") -> dict[str, Tensor]:
    """Weights under the reference's names."""
    found = _INPUTS["weights"](_INPUTS["layout"](name), seed, prefix)
    return {key: torch.as_tensor(value) for key, value in found.items()}


def masks(seed: int, count: int, height: int, width: int, empty: int = 3) -> np.ndarray:
    """uint8 0/1 [count, height, width] of ellipses; every `empty`-th is empty."""
    found: np.ndarray = _INPUTS["masks"](seed, count, height, width, empty)
    return found


def logits(seed: int, truth: np.ndarray) -> Tensor:
    """float32 logits that resemble `truth`."""
    return torch.as_tensor(_INPUTS["logits"](seed, truth))


def wave(seed: int, samples: int) -> np.ndarray:
    """int16 [samples] at 16 kHz."""
    found: np.ndarray = _INPUTS["wave"](seed, samples)
    return found


def frames(seed: int, size: int) -> np.ndarray:
    """uint8 [2, size, size, 3]: a texture, then the same with a disc moved by (3, -2) pixels."""
    found: np.ndarray = _INPUTS["frames"](seed, size)
    return found


def spread(found: Tensor | np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, as a share of the wanted values' spread."""
    values = found.detach().numpy() if isinstance(found, Tensor) else found
    assert values.shape == wanted.shape
    return float(np.abs(values - wanted).max() / np.ptp(wanted))
