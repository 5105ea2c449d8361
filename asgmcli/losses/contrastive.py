"""Visual-audio contrastive learning: a clip's picture and sound side by side, others' apart (thesis, Eq. 15-20)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def visual_audio_contrastive(video: Tensor, audio: Tensor, temperature: float = 0.05) -> Tensor:
    """Compute L_c (Eq. 20): the mean of the two directions' noise-contrastive losses.

    Args:
        video: [K, D] class tokens of the labelled, unlabelled and mixed clips (Eq. 15).
        audio: [K, D] the same clips' audio class tokens.
        temperature: the similarity's divisor (Eq. 17).

    Returns:
        Scalar, in nats.
    """
    faces = F.normalize(video.float(), dim=1)
    sounds = F.normalize(audio.float(), dim=1)
    similarity = sounds @ faces.T / temperature
    pairs = torch.arange(len(similarity), device=similarity.device)
    return (F.cross_entropy(similarity, pairs) + F.cross_entropy(similarity.T, pairs)) / 2
