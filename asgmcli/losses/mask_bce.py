"""The mask loss of TPAVI: binary cross-entropy of every pixel (UFE, Eq. 3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mask_bce(logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy over the batch's counted pixels, a scalar; 0 where none is counted.

    Args:
        logits: [N, H, W].
        target: [N, H, W] in 0..1, a truth or a teacher's soft mask.
        counted: bool [N, H, W]; all pixels where left out.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    if counted is None:
        return losses.mean()
    return (losses * counted).sum() / counted.sum().clamp(min=1)
