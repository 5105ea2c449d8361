"""The modality discriminator's loss (Lamba et al., Interspeech 2021, Eq. 1) and the strength of its reversal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asgmcli.losses.weakly_supervised import clamped_bce


def modality_loss(g: Tensor) -> Tensor:
    """Compute the cross-entropy of `g` [B, T, 2], the probability of picture, against audio 0, visual 1.

    Eq. 1 prints log G twice; its second logarithm needs 1 - G.
    """
    target = torch.zeros_like(g)
    target[..., 1] = 1
    return clamped_bce(g, target)


def reversal_strength(progress: float) -> float:
    """Return alpha = 2 / (1 + exp(-10 p)) - 1 at `progress` p in 0..1 of a run (Ganin and Lempitsky, 2015)."""
    return 2 / (1 + math.exp(-10 * progress)) - 1
