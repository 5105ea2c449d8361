"""The seconds of a clip: frames at even times within each, and the sound of a window of several."""

from __future__ import annotations

import math
import os

import numpy as np

from asgmcli.media.audio import read_audio
from asgmcli.media.clips import indices_at
from asgmcli.media.video import read_clip

SECONDS = 10
"""Seconds of a window."""


def count_seconds(duration: float) -> int:
    """Count the seconds of a clip: those that it covers by half, at least one."""
    return max(1, math.floor(duration + 0.5))


def count_windows(duration: float) -> int:
    """Count the windows of ten seconds that a clip is cut into; the last may reach beyond it."""
    return -(-count_seconds(duration) // SECONDS)


def read_frames(
    path: str | os.PathLike[str], fps: float, frames: int, window: int, a_second: int, short_side: int | None = None
) -> np.ndarray:
    """Read the frames shown at (k + 0.5) / `a_second` s of a window, k = 0, 1, ...; beyond the end the last repeats.

    Args:
        path: of the video.
        fps: its frames a second.
        frames: that it has.
        window: which, from 0.
        a_second: frames wanted of each second.
        short_side: the smallest side worth decoding, pixels.

    Returns:
        uint8 [10 a_second, H, W, 3].

    Raises:
        MediaError: the file cannot be decoded.
    """
    times = [SECONDS * window + (k + 0.5) / a_second for k in range(SECONDS * a_second)]
    # indices_at takes the frame that begins nearest; what is shown is the one that began before.
    indices = indices_at([time - 0.5 / fps for time in times], fps, max(frames, 1))
    return read_clip(path, indices, short_side=short_side)


def read_sound(path: str | os.PathLike[str], window: int, rate: int = 16_000) -> np.ndarray:
    """Read the sound of a window, float32 [10 rate]; silence beyond the end.

    Raises:
        MediaError: the file has no sound, or it cannot be decoded.
    """
    return read_audio(path, rate, float(SECONDS * window), float(SECONDS))
