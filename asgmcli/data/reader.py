"""A manifest's clips as tensors: frames and sound of one row, from disk or from memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.decoded import DecodedClips
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import MediaError
from asgmcli.media.audio import log_mel, read_audio
from asgmcli.media.bounds import check_decoded
from asgmcli.media.clips import (
    audio_window,
    clip_indices,
    random_start,
    spanned_indices,
    spanned_starts,
    uniform_starts,
)
from asgmcli.media.video import decode_video, fitted_size, read_clip
from asgmcli.recipe.clips import Audio, Clip

RATE = 16000
# Bytes of cached log-mels beside cached clips: one for each window position, many for long clips.
KEPT_LOG_MELS = 256 << 20


@dataclass(frozen=True)
class Moment:
    """A stretch of one clip: which frames, and where its sound is centred."""

    row: ManifestRow
    indices: list[int]


class ClipReader:
    """Reads what training and evaluation need of a clip.

    Args:
        manifest: whose rows will be read.
        clip: frames T, stride, and the largest short side worth decoding.
        audio: seconds of sound and mel bins.
        keep: hold every decoded clip in memory (small data sets: decoding then costs once), and log-mels up to 256 MB.
        share: hold every decoded clip on disk, for other runs too.
    """

    def __init__(
        self, manifest: Manifest, clip: Clip, audio: Audio, *, keep: bool = False, share: bool = False
    ) -> None:
        self.manifest = manifest
        self.clip = clip
        self.audio = audio
        self._shared = DecodedClips(manifest) if share else None
        self._frames: dict[str, np.ndarray] | None = {} if keep else None
        self._waves: dict[str, np.ndarray] | None = {} if keep else None
        self._log_mels: dict[tuple[str, float], Tensor] | None = {} if keep else None

    def moment(self, row: ManifestRow, start: float) -> Moment:
        """Return the T frames of `row` that begin at frame `start`, a fraction where `clip.fps` is set, as a moment."""
        total, clip, span = max(row.frames, 1), self.clip, self._span(row)
        if span is None:
            return Moment(row, clip_indices(total, clip.frames, clip.stride, int(start)))
        return Moment(row, spanned_indices(total, clip.frames, span, start))

    def random_moment(self, row: ManifestRow, uniform: float) -> Moment:
        """Return a clip placed uniformly within the video by `uniform` in [0, 1)."""
        total, clip, span = max(row.frames, 1), self.clip, self._span(row)
        if span is None:
            return self.moment(row, random_start(total, clip.frames, clip.stride, uniform))
        return self.moment(row, uniform * max(total - span, 0.0))

    def spread_moments(self, row: ManifestRow, clips: int, *, inclusive: bool) -> list[Moment]:
        """Return `clips` clips spread over the video, the last one ending with it where `inclusive`."""
        total, clip, span = max(row.frames, 1), self.clip, self._span(row)
        if span is None:
            starts: list[int] = uniform_starts(total, clip.frames, clip.stride, clips, inclusive=inclusive)
            return [self.moment(row, start) for start in starts]
        return [self.moment(row, start) for start in spanned_starts(total, span, clips, inclusive=inclusive)]

    def _span(self, row: ManifestRow) -> float | None:
        """Return the frames of `row` that a clip of `clip.fps` covers; None where the file's own frames count."""
        if self.clip.fps is None or row.fps <= 0:
            return None
        return max(self.clip.frames * self.clip.stride / self.clip.fps * row.fps, 1.0)

    def frames(self, moment: Moment) -> Tensor:
        """Read uint8 [T, H, W, 3]; the short side is at most the largest that augmentation asks for.

        Raises:
            MediaError: the file cannot be decoded.
        """
        path = self.manifest.resolve(moment.row)
        limit = self.clip.short_side[1]
        if self._frames is None and self._shared is None:
            return torch.from_numpy(read_clip(path, moment.indices, short_side=limit, backend=self.clip.backend))
        whole = self._whole_frames(moment.row, path, limit)
        return torch.from_numpy(whole[np.minimum(moment.indices, len(whole) - 1)])

    def wave(self, moment: Moment, seconds: float, *, inside: bool = False) -> Tensor:
        """Read float32 [S] mono at 16 kHz, `seconds` centred on the frames; silence if the file has no sound.

        `inside` shifts a span that would reach beyond the clip's ends back into it, as far as the clip is long enough.

        Raises:
            MediaError: the sound cannot be decoded.
        """
        path = self.manifest.resolve_audio(moment.row)
        samples = round(seconds * RATE)
        if path is None:
            return torch.zeros(samples)
        start = self.wave_start(moment, seconds, inside=inside)
        if not self._holds_sound:
            return torch.from_numpy(read_audio(path, RATE, start, seconds))
        return torch.from_numpy(_window(self._whole_wave(moment.row, path), round(start * RATE), samples))

    @property
    def _holds_sound(self) -> bool:
        return self._waves is not None or self._shared is not None

    def wave_start(self, moment: Moment, seconds: float, *, inside: bool = False) -> float:
        """Return where in the file `wave` begins, s.

        Raises:
            MediaError: the clip has no frame rate.
        """
        if moment.row.fps <= 0:
            raise MediaError(f"{self.manifest.path}: {moment.row.id} has no frame rate; its sound cannot be placed")
        start = audio_window(moment.indices, moment.row.fps, seconds)
        return max(0.0, min(start, moment.row.duration - seconds)) if inside else start

    def log_mel(self, moment: Moment) -> Tensor:
        """Return float32 [L, M], not normalised; must not be written to."""
        seconds, inside = self.audio.seconds, self.audio.inside
        middle = moment.indices[0] + moment.indices[-1]  # twice the window's, in frames
        heard = inside and self.manifest.resolve_audio(moment.row) is not None
        key = (moment.row.id, self.wave_start(moment, seconds, inside=True) if heard else middle)
        if self._log_mels is not None and key in self._log_mels:
            return self._log_mels[key]
        found = log_mel(self.wave(moment, seconds, inside=inside), rate=RATE, mels=self.audio.mels)
        if self._log_mels is not None and (len(self._log_mels) + 1) * found.nbytes <= KEPT_LOG_MELS:
            self._log_mels[key] = found
        return found

    def log_mels(self, moments: Sequence[Moment]) -> Tensor:
        """Return float32 [n, L, M] of moments of one clip, as `log_mel` of each; overlapping ones are read at once."""
        if self._holds_sound:
            return torch.stack([self.log_mel(moment) for moment in moments])
        return log_mel(self.waves(moments), rate=RATE, mels=self.audio.mels)

    def waves(self, moments: Sequence[Moment]) -> Tensor:
        """Return float32 [n, S], what `log_mel` hears at moments of one clip; overlapping ones are read at once."""
        path, seconds, inside = self.manifest.resolve_audio(moments[0].row), self.audio.seconds, self.audio.inside
        starts = [] if path is None else [self.wave_start(moment, seconds, inside=inside) for moment in moments]
        span = max(starts) - min(starts) + seconds if starts else math.inf
        if path is None or self._holds_sound or span > len(moments) * seconds:
            return torch.stack([self.wave(moment, seconds, inside=inside) for moment in moments])
        samples, first = round(seconds * RATE), round(min(starts) * RATE)
        whole = read_audio(path, RATE, min(starts), span + 1 / RATE)
        return torch.from_numpy(np.stack([_window(whole, round(start * RATE) - first, samples) for start in starts]))

    def _whole_frames(self, row: ManifestRow, path: Path, limit: int) -> np.ndarray:
        """Return all frames, uint8 [T, H, W, 3], from memory, from the shared files, or decoded."""
        if self._frames is not None and row.id in self._frames:
            return self._frames[row.id]

        def decode() -> np.ndarray:
            if self.clip.backend == "pyav":
                return decode_video(path, short_side=limit)[0]
            width, height = fitted_size(row.width, row.height, limit)
            check_decoded(path, 3 * row.frames * width * height)
            return read_clip(path, range(max(row.frames, 1)), short_side=limit, backend=self.clip.backend)

        shared, backend = self._shared, self.clip.backend
        whole = decode() if shared is None else shared.frames(row, limit, decode, backend=backend)
        if self._frames is not None:
            self._frames[row.id] = whole
        return whole

    def _whole_wave(self, row: ManifestRow, path: Path) -> np.ndarray:
        """Return all sound, float32 [S], from memory, from the shared files, or decoded."""
        if self._waves is not None and row.id in self._waves:
            return self._waves[row.id]

        def decode() -> np.ndarray:
            return read_audio(path, RATE)

        whole = decode() if self._shared is None else self._shared.wave(row, path, decode)
        if self._waves is not None:
            self._waves[row.id] = whole
        return whole


def _window(wave: np.ndarray, first: int, samples: int) -> np.ndarray:
    """Return `samples` of `wave` from sample `first` on, which may lie before its start; zeros outside."""
    window = np.zeros(samples, dtype=np.float32)
    low, high = max(first, 0), min(first + samples, len(wave))
    if high > low:
        window[low - first : high - first] = wave[low:high]
    return window
