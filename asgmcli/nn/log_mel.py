"""The log-mel filter bank as a network: one convolution and one product, which every runtime has."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from asgmcli.media.audio import FRAME_MS, HOP_MS
from asgmcli.media.mel import PREEMPHASIS, mel_bank, padded_window


class LogMel(nn.Module):
    """Waves to log-mel, as `media.audio.log_mel` computes it with a Fourier transform.

    What Kaldi does to a window before its power spectrum (its mean, preemphasis, Hann's window, the transform) is
    linear, so that one matrix does it. It is computed in float64.

    Args:
        length: L, time steps.
        mels: M, mel bands.
        rate: samples per second.
    """

    spectrum: Tensor
    bank: Tensor

    def __init__(self, length: int, mels: int, rate: int) -> None:
        super().__init__()
        window, self.hop = round(rate * FRAME_MS / 1000), round(rate * HOP_MS / 1000)
        self.samples = (length - 1) * self.hop + window
        size = padded_window(window)
        mean = torch.eye(window, dtype=torch.float64) - 1 / window
        before = torch.diag(torch.ones(window - 1, dtype=torch.float64), -1)
        before[0, 0] = 1.0  # the first sample is its own predecessor
        emphasis = torch.eye(window, dtype=torch.float64) - PREEMPHASIS * before
        hann = torch.hann_window(window, periodic=False, dtype=torch.float64)
        turns = torch.outer(torch.arange(size // 2 + 1), torch.arange(window)) % size
        angles = 2 * math.pi * turns.to(torch.float64) / size
        linear = torch.cat([angles.cos(), angles.sin()]) * hann @ emphasis @ mean
        self.register_buffer("spectrum", linear.to(torch.float32)[:, None], persistent=False)
        self.register_buffer("bank", mel_bank(mels, size, rate), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Return log-mel [B, L, M], not normalised, of sound [B, S], padded with silence or cut to L steps."""
        wave = wave[:, : self.samples]
        wave = nn.functional.pad(wave, (0, self.samples - wave.shape[1]))
        parts = nn.functional.conv1d(wave[:, None], self.spectrum, stride=self.hop)
        real, imaginary = parts.square().transpose(1, 2).chunk(2, dim=2)
        return ((real + imaginary) @ self.bank).clamp(min=torch.finfo(torch.float32).eps).log()
