"""PSP's pair similarity loss (Zhou et al., 2021): sound and picture agree where the event is, and nowhere else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_target(labels: Tensor, background: int) -> Tensor:
    """Return float32 [B, T]: 1 / n on the n event segments of each video, 0 elsewhere and in videos without event.

    Args:
        labels: int64 [B, T]; negative ones (segments beyond the clip) hold no event.
        background: number of the class that is no event.
    """
    event = ((labels != background) & (labels >= 0)).float()
    return event / event.sum(1, keepdim=True).clamp(min=1)


def pair_similarity_loss(similarity: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared error between the similarities' shares over time and the target.

    Args:
        similarity: cosine of both streams, [B, T]; negative ones count as 0, then each row is divided by its sum.
        target: [B, T], see `pair_target`.

    Returns:
        A scalar, float32.
    """
    with torch.autocast("cpu" if similarity.is_meta else similarity.device.type, enabled=False):
        share = F.normalize(similarity.float().relu(), p=1, dim=1)
        return F.mse_loss(share, target.float())
