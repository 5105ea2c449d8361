"""Clips of any length as windows of T seconds: which there are, what happens in them, what is seen and heard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import Segments, Span, spans_to_labels
from asgmcli.errors import MediaError
from asgmcli.media.audio import read_audio
from asgmcli.media.clips import indices_at
from asgmcli.media.vggish_mel import PATCH, RATE, vggish_patches
from asgmcli.media.video import read_clip
from asgmcli.metrics.segments import IGNORED

CANDIDATES = 16
"""Times a second at which a frame may be drawn: t + n / 16."""
MIDDLE = 8
"""n of the frame in the middle of a second."""


@dataclass(frozen=True)
class Window:
    """Window `place` (from 0) of a clip, `seconds` segments of 1 s long, of which the first `real` are of the clip."""

    row: ManifestRow
    place: int
    seconds: int
    real: int

    @property
    def start(self) -> int:
        """Return where it begins, s from the clip's start."""
        return self.place * self.seconds


def count_segments(row: ManifestRow, spans: Sequence[Span] = ()) -> int:
    """Count the segments of a clip: those that it covers by half, and all up to the end of its last event."""
    last = max((span.end for span in spans), default=0.0)
    return max(1, math.floor(row.duration + 0.5), math.ceil(last - 0.5))


def count_windows(row: ManifestRow, seconds: int, spans: Sequence[Span] = ()) -> int:
    """Count the windows of `seconds` seconds that a clip is cut into."""
    return -(-count_segments(row, spans) // seconds)


def windows_of(row: ManifestRow, seconds: int, spans: Sequence[Span] = ()) -> list[Window]:
    """Return the windows of a clip; the last may reach beyond it."""
    segments = count_segments(row, spans)
    return [
        Window(row, place, seconds, min(segments - place * seconds, seconds))
        for place in range(-(-segments // seconds))
    ]


@dataclass(frozen=True)
class WindowSet:
    """A data set's clips, and what is cut of them.

    Attributes:
        manifest: of the clips.
        segments: their events.
        seconds: T, of a window.
    """

    manifest: Manifest
    segments: Segments
    seconds: int

    @cached_property
    def clips(self) -> dict[str, int]:
        """Return the windows of each clip, in the manifest's order."""
        return {row.id: self.count(row) for row in self.manifest.rows}

    def count(self, row: ManifestRow) -> int:
        """Count the windows of a clip."""
        return count_windows(row, self.seconds, self.segments.get(row.id, ()))

    def of(self, row: ManifestRow) -> list[Window]:
        """Return the windows of a clip."""
        return windows_of(row, self.seconds, self.segments.get(row.id, ()))


def labels_of(windows: Sequence[Window], spans: Sequence[Span], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the class of each segment of a clip's windows, int64 [n, T]; -1 beyond the clip.

    Args:
        windows: all of one clip, in order.
        spans: its events.
        classes: names in index order, the background's last.
    """
    seconds = windows[0].seconds
    labels = spans_to_labels(spans, classes, seconds * len(windows)).reshape(len(windows), seconds)
    for window, line in zip(windows, labels, strict=True):
        line[window.real :] = IGNORED
    return labels


def read_frames(manifest: Manifest, window: Window, draws: Sequence[int], short_side: int) -> Tensor:
    """Read a frame at t + n / 16 for each second t of a window.

    Args:
        manifest: of the clip.
        window: whose frames are read; beyond the clip's end its last frame repeats.
        draws: n of each segment, 0 to 15.
        short_side: the smallest side worth decoding, pixels.

    Returns:
        uint8 [T, H, W, 3].

    Raises:
        MediaError: the file cannot be decoded.
    """
    return _frames_at(manifest, window, [second + draw / CANDIDATES for second, draw in enumerate(draws)], short_side)


def read_draws(manifest: Manifest, window: Window, draws: Sequence[int], short_side: int) -> Tensor:
    """Read several frames of each second t of a window, at t + n / 16 for each n of `draws`; the file is decoded once.

    Args:
        manifest: of the clip.
        window: whose frames are read; beyond the clip's end its last frame repeats.
        draws: n of every segment, 0 to 15.
        short_side: the smallest side worth decoding, pixels.

    Returns:
        uint8 [draws, T, H, W, 3].

    Raises:
        MediaError: the file cannot be decoded.
    """
    times = [second + draw / CANDIDATES for draw in draws for second in range(window.seconds)]
    found = _frames_at(manifest, window, times, short_side)
    return found.view(len(draws), window.seconds, *found.shape[1:])


def _frames_at(manifest: Manifest, window: Window, seconds: Sequence[float], short_side: int) -> Tensor:
    """Return frames uint8 [n, H, W, 3], `seconds` after the window's start."""
    row = window.row
    if row.fps <= 0:
        raise MediaError(f"{manifest.path}: {row.id} has no frame rate; its frames cannot be placed")
    times = [window.start + second for second in seconds]
    indices = indices_at(times, row.fps, max(row.frames, 1))
    return torch.from_numpy(read_clip(manifest.resolve(row), indices, short_side=short_side))


def read_patches(manifest: Manifest, window: Window, hop: float) -> Tensor:
    """Read the log-mel patches of a window's seconds, float32 [T, 96, 64]; silence beyond the clip's end.

    Args:
        manifest: of the clip.
        window: whose sound is read.
        hop: from one patch to the next, s.

    Raises:
        MediaError: the clip has no sound, or it cannot be decoded.
    """
    path = manifest.resolve_audio(window.row)
    if path is None:
        raise MediaError(f"{manifest.resolve(window.row)}: the clip has no sound, so its events cannot be told")
    return patches_of(path, window.start, window.seconds, hop)


def patches_of(path: Path, start: float, seconds: int, hop: float) -> Tensor:
    """Return `seconds` patches [n, 96, 64] of a file's sound, `hop` seconds apart, from `start` on."""
    samples = round(hop * RATE)
    length = (seconds - 1) * samples + PATCH
    return vggish_patches(torch.from_numpy(read_audio(path, RATE, start, length / RATE)), samples)


def resized(frames: Tensor, side: int, how: str) -> Tensor:
    """Resize frames uint8 [T, H, W, 3] to [T, 3, side, side] (`squash`), or to a short side of `side` (`short`)."""
    picture = frames.permute(0, 3, 1, 2)
    height, width = picture.shape[2:]
    if how == "squash":
        size = (side, side)
    else:
        scale = side / min(height, width)
        size = (max(round(height * scale), side), max(round(width * scale), side))
    if (height, width) == size:
        return picture.contiguous()
    made = F.interpolate(picture.float(), size, mode="bilinear", antialias=True, align_corners=False)
    return made.round_().clamp_(0, 255).to(torch.uint8)


def centre(frames: Tensor, size: int) -> Tensor:
    """Return the middle `size` x `size` pixels of frames [..., H, W]."""
    top, left = ((side - size) // 2 for side in frames.shape[-2:])
    return frames[..., top : top + size, left : left + size]
