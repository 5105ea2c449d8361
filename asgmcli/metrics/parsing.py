"""Decoding of a parser's probabilities, and the five numbers of a table (Tian et al., ECCV 2020)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MEASURES = ("audio", "visual", "audio_visual", "type", "event")
"""Type@AV is the mean of the three F-scores, Event@AV is of both modalities' events counted together."""


def decode(clip: Tensor, frame: Tensor, threshold: float = 0.5) -> Tensor:
    """Return bool [B, 2, C, T]: what is heard and seen in each second.

    Args:
        clip: probabilities [B, C] of whole clips; a class below `threshold` there is nowhere.
        frame: [B, T, 2, C] of each second.
        threshold: from which on a class counts.
    """
    found: Tensor = (frame >= threshold) & (clip >= threshold)[:, None, None, :]
    return found.permute(0, 2, 3, 1)


def summarize(scores: NDArray[np.float64]) -> dict[str, float]:
    """Return the means over clips of scores [N, 4] (audio, visual, audio-visual, pooled), in percent, by name."""
    audio, visual, both, pooled = (100 * scores.mean(axis=0)).tolist()
    return dict(zip(MEASURES, (audio, visual, both, (audio + visual + both) / 3, pooled), strict=True))
