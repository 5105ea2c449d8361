"""The target of an unlabelled frame under CutMix: the teacher's soft masks, the partner's inside (UFE, Eq. 5-6)."""

from __future__ import annotations

import torch
from torch import Tensor


def mixed_target(weak_logits: Tensor, partner: Tensor, box: Tensor) -> Tensor:
    """Return [N, H, W] in 0..1: the teacher's sigmoid of each frame outside its box, of its partner inside.

    Args:
        weak_logits: [N, H, W] of the teacher on the weak views.
        partner: int [N], which frame of the batch each takes its box from.
        box: bool [N, H, W].
    """
    soft = weak_logits.float().sigmoid()
    return torch.where(box, soft[partner], soft)
