"""The weakly supervised losses of video parsing (Tian et al., ECCV 2020; Lamba et al., Interspeech 2021, Eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CLAMP = 1e-7


def clamped_bce(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of probabilities clamped to [1e-7, 1 - 1e-7], in float32."""
    with torch.autocast("cpu" if probabilities.is_meta else probabilities.device.type, enabled=False):
        clamped = probabilities.float().clamp(CLAMP, 1 - CLAMP)
        return functional.binary_cross_entropy(clamped, target.float())


def smoothed(target: Tensor, share: float) -> Tensor:
    """Return labels [B, C] of which `share` is kept: share y + (1 - share) / 2."""
    return share * target + (1 - share) / 2


def parsing_losses(
    clip: Tensor, audio: Tensor, visual: Tensor, target: Tensor, smoothing: tuple[float, float] = (1.0, 0.9)
) -> dict[str, Tensor]:
    """Compute the losses of a batch against its bags of labels, unweighted.

    Args:
        clip: probabilities [B, C] of the whole clips.
        audio: [B, C] of their sound.
        visual: [B, C] of their picture.
        target: the bags [B, C] of 0 and 1.
        smoothing: share of the labels that sound and picture keep: the picture often lacks what the bag names.

    Returns:
        `wsl` of the clip, `guided_audio` and `guided_visual` of the modalities.
    """
    return {
        "wsl": clamped_bce(clip, target),
        "guided_audio": clamped_bce(audio, smoothed(target, smoothing[0])),
        "guided_visual": clamped_bce(visual, smoothed(target, smoothing[1])),
    }
