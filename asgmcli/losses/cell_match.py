"""Which sound belongs to which picture, asked of the picture's cells: whose cell matches a sound best has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cell_match(cells: Tensor, sounds: Tensor) -> Tensor:
    """Compute cross-entropy both ways over scores of every picture with every sound.

    A score is the log-sum-exp over cells of the inner products of cell and sound: where one cell matches, it counts
    alone, yet every cell has a gradient.

    Args:
        cells: [B, D, h, w], not normalised.
        sounds: [B, D], of the same clips.

    Returns:
        Scalar, in nats: the mean of both directions.
    """
    scores = torch.einsum("bdn,md->bmn", cells.float().flatten(2), sounds.float()).logsumexp(dim=2)
    pairs = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, pairs) + F.cross_entropy(scores.T, pairs)) / 2
