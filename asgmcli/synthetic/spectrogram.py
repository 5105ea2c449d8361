"""How the sound of a clip is shown in previews."""

from __future__ import annotations

import numpy as np

WINDOW = 512  # samples: 32 ms at 16 kHz
HOP = 128
RANGE_DB = 60.0  # from the loudest point down to black
LOWEST_HZ = 80.0


def spectrogram(sound: np.ndarray, window: int = WINDOW, hop: int = HOP) -> np.ndarray:
    """Return power in decibels, float [window / 2 + 1, columns], of a Hann-windowed short-time Fourier transform."""
    padded = np.pad(sound, (window // 2, window))
    starts = np.arange(0, len(sound), hop)
    pieces = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    decibels: np.ndarray = 20 * np.log10(np.abs(np.fft.rfft(pieces, axis=1)).T + 1e-5)
    return decibels
