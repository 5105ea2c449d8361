"""A clip with its heat map over it, as an mp4 that keeps the sound; written frame by frame."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asgmcli.localize.clip_maps import Sound
from asgmcli.media.write import AAC_RATES, write_clip

_OTHER_RATE = 48_000


def write_with_sound(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float, sound: Sound) -> None:
    """Write frames [H,W,3] at `fps` to `path` as mp4 with the sound atomically.

    Frames are taken one at a time and the sound is read in pieces, so that an hour takes no more memory than a
    minute. The sound becomes mono, at its own rate where aac knows that; without sound the mp4 has none.

    Args:
        path: the target.
        frames: uint8 [H,W,3] of one size.
        fps: frames a second.
        sound: what is heard from the first frame on.

    Raises:
        MediaError: the sound cannot be read, or the mp4 cannot be written.
    """
    rate = sound.rate if sound.rate in AAC_RATES else _OTHER_RATE
    write_clip(path, frames, fps, partial(sound.samples, rate) if sound.rate else None, rate)
