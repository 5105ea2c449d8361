"""Choose the frames of a clip and the seconds of sound that go with them: index arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Of a frame: what times and rates in binary are off by.
_ROUNDING = 1e-9


def clip_indices(total: int, frames: int, stride: int, start: int) -> list[int]:
    """Return the indices start, start + stride, ... of `frames` frames; past the video's end the last frame repeats.

    The clip's length in seconds is that of the file's own rate (docs/METHOD.md, "Frame rate").
    """
    if total < 1 or frames < 1 or stride < 1 or start < 0:
        raise ValueError(
            f"total, frames and stride must be 1 or more, start 0 or more; got {total, frames, stride, start}"
        )
    return [min(start + place * stride, total - 1) for place in range(frames)]


def random_start(total: int, frames: int, stride: int, uniform: float) -> int:
    """Return the first index of a clip placed uniformly within the video by `uniform` in [0, 1).

    0 if the clip is longer than the video.
    """
    if not 0.0 <= uniform < 1.0:
        raise ValueError(f"uniform must lie in [0, 1), got {uniform}")
    places = last_start(total, frames, stride) + 1
    return min(int(uniform * places), places - 1)  # a uniform just below 1 may round up in the product


def uniform_starts(total: int, frames: int, stride: int, clips: int, *, inclusive: bool = True) -> list[int]:
    """Return the first indices of `clips` clips spread evenly from the video's start to its end; one clip is centred.

    Starts repeat if the video is too short for distinct ones. Not `inclusive`, each begins k / `clips` of the way to
    the last start, rounded down, and one clip begins with the video (SVFormer's released evaluation).
    """
    if clips < 1:
        raise ValueError(f"clips must be 1 or more, got {clips}")
    last = last_start(total, frames, stride)
    if not inclusive:
        return [last * place // clips for place in range(clips)]
    if clips == 1:
        return [last // 2]
    # round half up in integers: the same on every platform
    return [(2 * place * last + clips - 1) // (2 * (clips - 1)) for place in range(clips)]


def last_start(total: int, frames: int, stride: int) -> int:
    """Return the last start from which a whole clip lies within the video; 0 if none does."""
    if total < 1 or frames < 1 or stride < 1:
        raise ValueError(f"total, frames and stride must be 1 or more; got {total, frames, stride}")
    return max(total - 1 - (frames - 1) * stride, 0)


def spanned_indices(total: int, frames: int, span: float, start: float) -> list[int]:
    """Return the indices of `frames` frames spread over `span` frames of the video from `start` on, both fractions.

    As SVFormer's released decoder counts: the first frame is the first one at or after `start`, the others lie at
    equal steps from it to `span` - 1 frames later, rounded down; past the video's end its last frame repeats.
    """
    if total < 1 or frames < 1 or span < 1 or start < 0:
        raise ValueError(f"total, frames and span must be 1 or more, start 0 or more; got {total, frames, span, start}")
    first, step = math.ceil(start), (span - 1) / max(frames - 1, 1)
    # Below half of a float32's last digit, by which the released linspace may miss a whole number.
    return [min(first + math.floor(place * step + 1e-6), total - 1) for place in range(frames)]


def spanned_starts(total: int, span: float, clips: int, *, inclusive: bool) -> list[float]:
    """Return the starts, in frames, of `clips` clips of `span` frames spread over a video of `total`.

    `inclusive` lets the last one end with the video, and centres a single one; else each begins k / `clips` of the way
    to the last start that fits, as in SVFormer's released evaluation. All are 0 where the video is shorter.
    """
    if clips < 1:
        raise ValueError(f"clips must be 1 or more, got {clips}")
    last = max(total - span, 0.0)
    if inclusive:
        return [last / 2] if clips == 1 else [last * place / (clips - 1) for place in range(clips)]
    return [last * place / clips for place in range(clips)]


def clip_span(indices: Sequence[int], fps: float) -> tuple[float, float]:
    """Return (start, end), in seconds, of the time a clip's frames are shown: first one's start to last one's end."""
    if not indices or fps <= 0:
        raise ValueError(f"a span needs frames and a positive rate; got {len(indices)} frames at {fps} fps")
    return min(indices) / fps, (max(indices) + 1) / fps


def audio_window(indices: Sequence[int], fps: float, seconds: float) -> float:
    """Return the start (s) of `seconds` of sound centred on the clip's span; negative if it begins before the video.

    What lies beyond the file is silence, see docs/METHOD.md; `read_audio` gives it.
    """
    start, end = clip_span(indices, fps)
    return (start + end - seconds) / 2


def indices_at(times: Sequence[float], fps: float, total: int) -> list[int]:
    """Return the index of the frame nearest to each time, s from the first frame; of two as near the later one.

    Times before the first frame give it, times past the last frame give the last one.

    Raises:
        ValueError: no frame, or a rate that is not positive.
    """
    if total < 1 or not fps > 0:
        raise ValueError(f"frames at given times need frames and a positive rate; got {total} frames at {fps} fps")
    return [min(max(math.floor(time * fps + 0.5 + _ROUNDING), 0), total - 1) for time in times]
