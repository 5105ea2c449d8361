"""VGGish's log-mel patches (Hershey et al., 2017), which its network and all that builds on it take.

Not Kaldi's filter bank of `asgmcli.media.mel`: this one has another scale, magnitudes instead of power, another floor.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

RATE = 16000
"""Samples a second of the sound that patches are made of."""
FRAMES = 96
"""Windows of a patch."""
BANDS = 64
"""Mel bands of a patch."""
WINDOW = 400
"""Samples of a window, 25 ms."""
STEP = 160
"""Samples from one window to the next, 10 ms."""
PATCH = (FRAMES - 1) * STEP + WINDOW
"""Samples of a patch: 15600."""
HOP = 15360
"""Samples from one patch to the next in VGGish's own framing, 0.96 s."""
FLOOR = 0.01
"""Added to each band before the logarithm."""

_TRANSFORM = 512
_LOWEST_HZ, _HIGHEST_HZ = 125.0, 7500.0
_BLOCK = 16  # patches transformed at once: a long sound needs no more memory than a short one


def vggish_patches(wave: Tensor | np.ndarray, hop: int = HOP) -> Tensor:
    """Compute the log-mel patches of a mono sound.

    Each window of 400 samples (periodic Hann, a step of 160) gives 257 magnitudes, these 64 triangular bands between
    125 and 7500 Hz whose sides are straight on the mel scale 1127 ln(1 + f / 700), and ln(band + 0.01) is kept. There
    is no padding: a silent patch holds ln 0.01.

    Args:
        wave: float [S] at 16 kHz, in [-1, 1].
        hop: samples from one patch to the next; 15360 is VGGish's, 16000 puts patch t at second t.

    Returns:
        float32 [N, 96, 64]: patch k is of the 15600 samples from k * hop on, N of them lie wholly within the sound.

    Raises:
        ValueError: the sound is not [S], or `hop` is below 1.
    """
    sound = torch.as_tensor(wave).to(torch.float32)
    if sound.ndim != 1 or hop < 1:
        raise ValueError(f"wave must be [S] and hop 1 or more; got {list(sound.shape)} and {hop}")
    if len(sound) < PATCH:
        return sound.new_empty((0, FRAMES, BANDS))
    windows = sound.unfold(0, PATCH, hop).unfold(1, WINDOW, STEP)  # [N, 96, 400]
    window, bank = _window().to(sound.device), _bank().to(sound.device)
    return torch.cat([_log_mel(part, window, bank) for part in windows.split(_BLOCK)])


def _log_mel(windows: Tensor, window: Tensor, bank: Tensor) -> Tensor:
    """Return [n, 96, 64] of windows [n, 96, 400]."""
    magnitudes = torch.fft.rfft(windows * window, n=_TRANSFORM).abs()
    bands: Tensor = magnitudes @ bank
    return bands.add_(FLOOR).log_()


@cache
def _window() -> Tensor:
    """Return the periodic Hann window [400]."""
    return torch.hann_window(WINDOW, periodic=True)


@cache
def _bank() -> Tensor:
    """Return the weights of each band, float32 [257, 64]; the transform's first value, at 0 Hz, belongs to none."""
    lowest, highest = (1127.0 * math.log1p(hertz / 700.0) for hertz in (_LOWEST_HZ, _HIGHEST_HZ))
    edges = torch.linspace(lowest, highest, BANDS + 2, dtype=torch.float64)
    hertz = torch.linspace(0, RATE / 2, _TRANSFORM // 2 + 1, dtype=torch.float64)
    mel = (1127.0 * torch.log1p(hertz / 700.0))[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bank = torch.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)).clamp_(min=0.0)
    bank[0] = 0.0
    return bank.float()
