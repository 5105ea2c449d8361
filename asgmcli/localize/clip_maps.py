"""Heat maps of a whole clip, read from its file piece by piece: memory does not grow with its picture or length."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.maps import maps_at
from asgmcli.errors import DataError, MediaError
from asgmcli.localize.evidence import confidence
from asgmcli.localize.motion import CELL, GRID, cell_motion, gray, loudness, no_evidence, no_sound, synchrony
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import MediaInfo, probe
from asgmcli.media.video import iterate_frames

if TYPE_CHECKING:
    from asgmcli.nn.localizer import FrozenLocalizer

Floats = NDArray[np.float32]
Frame = NDArray[np.uint8]

RATE = 16_000
"""Samples a second at which sound is listened to."""
MOTION_FPS = 10.0
FNAC_FPS = 4.0
"""Maps a second by default."""
_AUDIO_SPAN = 300.0  # s of sound held at once, 20 MB
_BATCH = 8  # frames given to the network at once
_SMALL = 128  # pixels of the short side at which frames are looked at for motion

Crop = Callable[[Frame], Frame]
"""What is cut out of each frame, [H,W,3] -> [H',W',3]."""


@dataclass(frozen=True)
class ClipMaps:
    """Maps of where a clip's sound comes from.

    `maps` float32 [T,h,w] in [0, 1], at `times` seconds [T]; `level` is the sound's loudness (root mean square), 100
    values a second [n]; `warning` says why the maps are uniform, if they are. `confidence` [T] in [0, 1] says how
    surely the hot region makes the sound (see `asgmcli.localize.evidence`); NaN from a trained localizer.
    """

    info: MediaInfo
    localizer: str
    maps: Floats
    times: NDArray[np.float64]
    level: Floats
    warning: str | None
    confidence: Floats

    def sure(self, time: float, least: float) -> bool:
        """Return False where the confidence at `time` seconds is known and below `least`."""
        return not float(np.interp(time, self.times, self.confidence)) < least

    def at(self, time: float) -> Floats:
        """Return the map [h,w] at any time in seconds, interpolated linearly, held at the ends."""
        found: Floats = maps_at(self.maps, self.times, [time])[0]
        return found


def motion_clip_maps(
    path: Path,
    *,
    audio: Path | None = None,
    fps: float = MOTION_FPS,
    grid: tuple[int, int] = GRID,
    crop: Crop | None = None,
    until: float = math.inf,
    progress: Callable[[float], None] | None = None,
) -> ClipMaps:
    """Compute a clip's maps by the motion localizer (see `asgmcli.localize.motion`).

    Args:
        path: the clip.
        audio: the file with its sound, if that is a separate one.
        fps: maps a second, rounded to a whole number of frames, at least one.
        grid: (h, w).
        crop: the part of each frame to look at.
        until: seconds after which the clip is not read.
        progress: called with the seconds of video done.

    Raises:
        MediaError: not a video, or it cannot be decoded.
    """
    info = _video(path)
    sound = Sound(audio or path)
    level = clip_loudness(sound, min(info.duration, until))
    motions, times = [], []
    before: Floats | None = None
    for time, frame in every(iterate_frames(path, short_side=max(_SMALL, CELL * max(grid))), info, fps):
        if time > until:
            break
        now = gray(frame if crop is None else crop(frame), grid)
        motions.append(np.zeros(grid, np.float32) if before is None else cell_motion(before, now, grid))
        times.append(time)
        before = now
        if progress is not None:
            progress(time)
    motion = _stacked(motions, path)
    if len(motion) > 1:
        motion[0] = motion[1]  # nothing lies before the first frame
    moments = np.asarray(times)
    warning = _silence(sound, level) or no_evidence(motion, level)
    maps = synchrony(motion, level, moments)
    return ClipMaps(info, "motion", maps, moments, level, warning, confidence(motion, level, moments))


def fnac_clip_maps(
    path: Path,
    localizer: FrozenLocalizer,
    *,
    audio: Path | None = None,
    fps: float = FNAC_FPS,
    progress: Callable[[float], None] | None = None,
) -> ClipMaps:
    """Compute a clip's maps by a trained localizer: each frame with the sound around it, min-max normalised per frame.

    Arguments and errors as `motion_clip_maps`; frames of silence get a uniform map.
    """
    info = _video(path)
    sound = Sound(audio or path)
    level = clip_loudness(sound, info.duration)
    # Reduced to the network's input size: eight 4K frames need not be kept.
    chosen = every(iterate_frames(path, short_side=localizer.input_size), info, fps)
    maps, times = [], []
    while batch := list(islice(chosen, _BATCH)):
        pictures = np.stack([frame for _, frame in batch])
        moments = [time for time, _ in batch]
        maps.append(_network_maps(localizer, pictures, moments, sound))
        times += moments
        if progress is not None:
            progress(moments[-1])
    found = _stacked([one for part in maps for one in part], path)
    unknown = np.full(len(found), np.nan, np.float32)
    return ClipMaps(info, localizer.model.kind, found, np.asarray(times), level, _silence(sound, level), unknown)


class Sound:
    """The sound of a file, read in long pieces as it is asked for: a span costs a file's start anew in some containers.

    `rate` is that of the file, 0 where it holds no sound.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # A sound cache has no header to probe; `read_audio` checks it.
        self.rate = RATE if path.suffix == ".npy" else probe(path).audio_rate
        self._rate, self._start, self._held = 0, 0, np.zeros(0, np.float32)

    def samples(self, rate: int, start: int, count: int) -> Floats:
        """Return `count` samples at `rate` from sample `start` on the video's clock; silence beyond the ends.

        Raises:
            MediaError: the sound cannot be read.
        """
        if not self.rate:
            return np.zeros(count, np.float32)
        if rate != self._rate or start < self._start or start + count > self._start + len(self._held):
            seconds = max(_AUDIO_SPAN, count / rate)
            self._held = read_audio(self.path, rate, start / rate, seconds)
            self._rate, self._start = rate, start
        return self._held[start - self._start :][:count]


def clip_loudness(sound: Sound, seconds: float) -> Floats:
    """Return the loudness (root mean square) of the first `seconds`, 100 values a second [n]; n is 0 without sound.

    Raises:
        MediaError: the sound cannot be read.
    """
    if not sound.rate:
        return np.zeros(0, np.float32)
    total, span = math.ceil(seconds * RATE), round(_AUDIO_SPAN * RATE)
    parts = [loudness(sound.samples(RATE, start, min(span, total - start)), RATE) for start in range(0, total, span)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _silence(sound: Sound, level: Floats) -> str | None:
    return "the clip has no sound" if not sound.rate else no_sound(level)


def every(frames: Iterable[tuple[float, Frame]], info: MediaInfo, fps: float) -> Iterator[tuple[float, Frame]]:
    """Yield every n-th frame, about `fps` a second; steps of one length keep the motion from pulsing."""
    step = max(1, round(info.fps / fps)) if info.fps else 1
    return islice(iter(frames), 0, None, step)


def normalised(maps: Floats) -> Floats:
    """Return each map of [T,h,w] scaled to [0, 1] by its smallest and largest value; a flat one is 1 everywhere."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    flat = high - low <= 1e-6 * np.maximum(np.abs(high), np.abs(low))
    scaled: Floats = (maps - low) / np.where(flat, 1, high - low)
    return np.where(flat, np.float32(1), scaled).astype(np.float32)


def _network_maps(localizer: FrozenLocalizer, frames: Frame, times: list[float], sound: Sound) -> Floats:
    """Return maps [T,h,w] of frames [T,H,W,3], each with the sound around its time."""
    import torch

    count = math.ceil(localizer.seconds * localizer.rate)
    starts = [round((time - localizer.seconds / 2) * localizer.rate) for time in times]
    waves = np.stack([sound.samples(localizer.rate, start, count) for start in starts])
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)[:, :, None].float() / 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the caller warns of silence, once
        maps = localizer.maps(pictures, torch.from_numpy(waves))
    return normalised(maps[:, 0].cpu().numpy())


def _video(path: Path) -> MediaInfo:
    info = probe(path)
    if info.kind == "audio":
        raise MediaError(f"{path} holds sound but no picture: there is no place to find. Name a video.")
    return info


def _stacked(parts: list[Floats], path: Path) -> Floats:
    if not parts:
        raise DataError(f"{path}: not one frame could be decoded. Is the file whole?")
    return np.stack(parts)
