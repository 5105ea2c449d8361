"""A manifest's clips as tensors: frames and sound of one row, from disk or from memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.manifest import Manifest, Row
from asgmcli.errors import MediaError
from asgmcli.media.audio import log_mel, read_audio
from asgmcli.media.clips import audio_window, clip_indices
from asgmcli.media.video import decode_video, read_clip
from asgmcli.sections import Audio, Clip

RATE = 16000


@dataclass(frozen=True)
class Moment:
    """A stretch of one clip: which frames, and where its sound is centred."""

    row: Row
    indices: list[int]


class ClipReader:
    """Reads what training and evaluation need of a clip.

    Args:
        manifest: whose rows will be read.
        clip: frames T, stride, and the largest short side worth decoding.
        audio: seconds of sound and mel bins.
        keep: hold every decoded clip in memory (small data sets: decoding then costs once).
    """

    def __init__(self, manifest: Manifest, clip: Clip, audio: Audio, *, keep: bool = False) -> None:
        self.manifest = manifest
        self.clip = clip
        self.audio = audio
        self._frames: dict[str, np.ndarray] | None = {} if keep else None
        self._waves: dict[str, np.ndarray] | None = {} if keep else None

    def moment(self, row: Row, start: int) -> Moment:
        """The T frames of `row` that begin at frame `start`."""
        return Moment(row, clip_indices(max(row.frames, 1), self.clip.frames, self.clip.stride, start))

    def frames(self, moment: Moment) -> Tensor:
        """uint8 [T, H, W, 3]; the short side is at most the largest that augmentation asks for.

        Raises:
            MediaError: the file cannot be decoded.
        """
        path = self.manifest.resolve(moment.row)
        limit = self.clip.short_side[1]
        if self._frames is None:
            return torch.from_numpy(read_clip(path, moment.indices, short_side=limit, backend=self.clip.backend))
        if moment.row.id not in self._frames:
            self._frames[moment.row.id] = decode_video(path, short_side=limit)[0]
        whole = self._frames[moment.row.id]
        return torch.from_numpy(whole[np.minimum(moment.indices, len(whole) - 1)])

    def wave(self, moment: Moment, seconds: float, *, inside: bool = False) -> Tensor:
        """float32 [S] mono at 16 kHz, `seconds` centred on the frames; silence where the file has none.

        `inside` moves a span that would reach beyond the clip's ends back into it, as far as the clip is long enough.

        Raises:
            MediaError: the sound cannot be decoded.
        """
        path = self.manifest.resolve_audio(moment.row)
        samples = round(seconds * RATE)
        if path is None:
            return torch.zeros(samples)
        if moment.row.fps <= 0:
            raise MediaError(f"{self.manifest.path}: {moment.row.id} has no frame rate; its sound cannot be placed")
        start = audio_window(moment.indices, moment.row.fps, seconds)
        if inside:
            start = max(0.0, min(start, moment.row.duration - seconds))
        if self._waves is None:
            return torch.from_numpy(read_audio(path, RATE, start, seconds))
        if moment.row.id not in self._waves:
            self._waves[moment.row.id] = read_audio(path, RATE)
        return torch.from_numpy(_window(self._waves[moment.row.id], round(start * RATE), samples))

    def log_mel(self, moment: Moment) -> Tensor:
        """float32 [L, M], not normalised."""
        wave = self.wave(moment, self.audio.seconds)
        return log_mel(wave, rate=RATE, mels=self.audio.mels)


def _window(wave: np.ndarray, first: int, samples: int) -> np.ndarray:
    """`samples` of `wave` from sample `first` on, which may lie before its start; zeros outside."""
    window = np.zeros(samples, dtype=np.float32)
    low, high = max(first, 0), min(first + samples, len(wave))
    if high > low:
        window[low - first : high - first] = wave[low:high]
    return window
