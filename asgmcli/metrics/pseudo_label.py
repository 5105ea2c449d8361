"""Quantity and accuracy of pseudo-labels, the latter where the truth is known."""

from __future__ import annotations

import torch
from torch import Tensor


def pseudo_label_quality(mask: Tensor, labels: Tensor, truth: Tensor | None = None) -> dict[str, Tensor]:
    """Measure the quantity and quality of a batch's pseudo-labels.

    Args:
        mask: [B] 0 or 1, the labels that passed the threshold.
        labels: [B] int64, the teacher's.
        truth: [B] int64, the clips' own labels, negative where unknown; None if none is known.

    Returns:
        Scalars on the mask's device, in percent: `used` of all clips; `accuracy` of the used labels whose truth is
        known, NaN if there are none.
    """
    passed = mask.detach() > 0
    known = passed & (truth >= 0) if truth is not None else torch.zeros_like(passed)
    right = known & (labels == truth) if truth is not None else known
    return {"used": 100 * passed.float().mean(), "accuracy": 100 * right.sum() / known.sum()}
