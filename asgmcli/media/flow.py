"""Dense optical flow by Farneback's method (G. Farnebäck, SCIA 2003) in OpenCV, and its bytes on disk."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from asgmcli.errors import InstallError

Array = np.ndarray[Any, np.dtype[Any]]
BOUND = 20.0
"""Largest displacement that a byte holds, pixels."""
REST = 128
"""Byte of no motion."""
# pyramid scale, levels, window, iterations, polynomial neighbourhood and its deviation, flags
_ARGUMENTS = (0.5, 3, 15, 3, 5, 1.2, 0)
_MIDDLE = 127.5


def farneback(first: Array, second: Array) -> Array:
    """Return the displacement of every pixel from one frame to another, float32 [2, H, W] in pixels (x, y).

    Args:
        first: uint8 [H, W, 3], RGB.
        second: of the same shape.

    Raises:
        InstallError: OpenCV is missing.
        ValueError: frames of different shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"frames have {first.shape} and {second.shape}; flow needs two of one size")
    cv2 = _opencv()
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    flow: Array = cv2.calcOpticalFlowFarneback(grey[0], grey[1], None, *_ARGUMENTS)
    return np.ascontiguousarray(flow.transpose(2, 0, 1))


def encode_flow(flow: Array, bound: float = BOUND) -> Array:
    """Return uint8 of the same shape: pixels clipped to ±bound, 0 and 255 its ends, 128 rest."""
    shares = np.clip(np.asarray(flow) / bound, -1.0, 1.0)
    return np.round(_MIDDLE + _MIDDLE * shares).astype(np.uint8)


def decode_flow(encoded: Array, bound: float = BOUND) -> Array:
    """Return float32 pixels of the bytes that `encode_flow` wrote, up to bound / 255."""
    return ((np.asarray(encoded, dtype=np.float32) - _MIDDLE) * (bound / _MIDDLE)).astype(np.float32)


def _opencv() -> Any:
    known = os.environ.get("LD_LIBRARY_PATH")
    try:
        import cv2
    except ImportError:
        raise InstallError(
            "Optical flow needs OpenCV, which is missing: pip install 'asgm[flow]' (or opencv-python-headless)"
        ) from None
    # Its first import puts a folder of its own before the user's, which child processes would inherit.
    if known is None:
        os.environ.pop("LD_LIBRARY_PATH", None)
    else:
        os.environ["LD_LIBRARY_PATH"] = known
    return cv2
