"""Consistency on mixtures of two clips (thesis, Eq. 12)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def mixup_target(
    probabilities_a: Tensor,
    probabilities_b: Tensor,
    passes_a: Tensor,
    passes_b: Tensor,
    weight: Tensor | float,
    *,
    soft: bool = False,
    threshold: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the student's target for a mixture, and the target's weight.

    Each clip contributes its one-hot teacher label if its confidence passed the threshold, else its soft prediction.

    Args:
        probabilities_a: [B, K], the teacher's on the weak view of A.
        probabilities_b: [B, K], of B.
        passes_a: [B] 0 or 1, whether A passed the threshold.
        passes_b: [B], of B.
        weight: scalar or [B] in 0..1, A's share of the mixture: the fraction of tokens truly kept, or of the mass.
        soft: use the soft prediction of every clip; the mask stays.
        threshold: τ of Eq. 12 as printed, whose one indicator looks at the mixed label; None weighs each clip's own.

    Returns:
        target [B, K] float32: weight·A + (1 - weight)·B; mask [B]: weight·1[A passes] + (1 - weight)·1[B passes], or
        1[largest of the target >= threshold].
    """
    share = torch.as_tensor(weight, dtype=torch.float32, device=probabilities_a.device)
    if soft:
        labels_a, labels_b = probabilities_a.float(), probabilities_b.float()
    else:
        labels_a, labels_b = _sharpen(probabilities_a, passes_a), _sharpen(probabilities_b, passes_b)
    share_of_row = share[:, None] if share.dim() else share
    target = share_of_row * labels_a + (1 - share_of_row) * labels_b
    if threshold is not None:
        return target, (target.amax(dim=1) >= threshold).float()
    return target, share * passes_a + (1 - share) * passes_b


def mixup(logits: Tensor, target: Tensor, mask: Tensor, space: Literal["logits", "probabilities"] = "logits") -> Tensor:
    """Compute L_mix (Eq. 12): squared difference between target and prediction, weighted by the mask.

    Args:
        logits: [B, K], the student's on the mixture.
        target: [B, K] of `mixup_target`.
        mask: [B] in 0..1.
        space: compare with the raw logits (SVFormer's released code) or with their softmax.

    Returns:
        Scalar: mean over classes, times the mask, mean over all B.

    Raises:
        ValueError: unknown `space`.
    """
    if space not in ("logits", "probabilities"):
        raise ValueError(f"space must be 'logits' or 'probabilities', got {space!r}")
    prediction = logits.float() if space == "logits" else logits.float().softmax(dim=1)
    return ((target - prediction).square().mean(dim=1) * mask).mean()


def _sharpen(probabilities: Tensor, passes: Tensor) -> Tensor:
    """Return [B, K]: one-hot rows where the clip passes, the soft ones elsewhere."""
    soft = probabilities.float()
    hard = F.one_hot(soft.argmax(dim=1), soft.shape[1]).float()
    return torch.where(passes[:, None].bool(), hard, soft)
