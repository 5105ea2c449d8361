"""Kaldi's log-mel filter bank, as `torchaudio.compliance.kaldi.fbank` defines it, several times as fast.

torchaudio builds the window and the mel bank anew at every call, which for a clip of seconds takes longer than the
transform. Here they are made once a process for each rate and size, the mel bank by torchaudio where it loads.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

PREEMPHASIS = 0.97
BLOCK = 128  # windows at a time, so that what lies between two steps stays in the processor's cache
LOWEST_HZ = 20.0  # Kaldi's; the highest is half the rate


def filter_bank(sound: Tensor, *, rate: int, window: int, hop: int, mels: int) -> Tensor:
    """Return log mel energies: each window less its mean, preemphasised, under Hann's window, its power spectrum.

    Args:
        sound: float32 [B, S], S at least `window`.
        rate: samples per second.
        window: samples a window.
        hop: samples from one window to the next.
        mels: M, mel bands.

    Returns:
        float32 [B, 1 + (S - window) // hop, M], not below the logarithm of float32's epsilon.
    """
    frames = sound.unfold(1, window, hop)
    energies = sound.new_empty((*frames.shape[:2], mels))
    block = max(BLOCK // len(sound), 1)
    for first in range(0, frames.shape[1], block):
        span = slice(first, first + block)
        energies[:, span] = _power(frames[:, span]) @ mel_bank(mels, padded_window(window), rate)
    return energies.clamp_(min=torch.finfo(torch.float32).eps).log_()


def _power(frames: Tensor) -> Tensor:
    """Return power spectra [B, N, P // 2 + 1] of frames [B, N, window], padded with zeros to P samples."""
    frames = frames - frames.mean(2, keepdim=True)
    # The first sample has no predecessor; Kaldi takes itself for it.
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
    frames = torch.sub(frames, before, alpha=PREEMPHASIS).mul_(_hann(frames.shape[2]))
    spectrum = torch.fft.rfft(frames, n=padded_window(frames.shape[2]))
    power: Tensor = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    return power


def padded_window(window: int) -> int:
    """Return the power of two that a transform of `window` samples takes."""
    return 1 << (window - 1).bit_length()


@cache
def _hann(window: int) -> Tensor:
    """Return the Hann window [window]; its first and last values are 0."""
    return torch.hann_window(window, periodic=False)


@cache
def mel_bank(mels: int, size: int, rate: int) -> Tensor:
    """Return [size // 2 + 1, mels]: triangles on Kaldi's mel scale; half the rate itself belongs to none."""
    try:
        from torchaudio.compliance.kaldi import get_mel_banks

        bank, _ = get_mel_banks(mels, size, float(rate), LOWEST_HZ, 0.0, 100.0, -500.0, 1.0)
    except (ImportError, OSError, RuntimeError):  # its compiled part does not load beside every torch
        bank = triangles(mels, size, rate)
    return torch.nn.functional.pad(bank, (0, 1)).T.contiguous()


def band_hertz(bands: tuple[int, int], mels: int, rate: int) -> tuple[float, float]:
    """Return the frequencies, Hz, that mel bands `bands[0]` up to `bands[1]` of `mels` cover, halfway to the next."""
    lowest, highest = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (LOWEST_HZ, rate / 2))
    width = (highest - lowest) / (mels + 1)
    low, high = (700.0 * (math.exp((lowest + (edge + 0.5) * width) / 1127.0) - 1.0) for edge in bands)
    return low, high


def triangles(mels: int, size: int, rate: int) -> Tensor:
    """Return the weights of `torchaudio.compliance.kaldi.get_mel_banks`, without torchaudio.

    Band m rises from the mel of edge m to 1 at edge m + 1 and falls to 0 at edge m + 2; the edges lie evenly between
    `LOWEST_HZ` and half the rate on Kaldi's mel scale, 1127 ln(1 + Hz / 700).

    Args:
        mels: M, mel bands.
        size: P, samples of the transform, even.
        rate: samples per second.

    Returns:
        float32 [M, P // 2].
    """
    lowest, highest = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (LOWEST_HZ, rate / 2))
    width = (highest - lowest) / (mels + 1)
    band = torch.arange(mels)[:, None]
    left, center, right = lowest + band * width, lowest + (band + 1.0) * width, lowest + (band + 2.0) * width
    mel = 1127.0 * (1.0 + rate / size * torch.arange(size / 2) / 700.0).log()
    rise, fall = (mel - left) / (center - left), (right - mel) / (right - center)
    return torch.minimum(rise, fall).clamp_(min=0.0)
