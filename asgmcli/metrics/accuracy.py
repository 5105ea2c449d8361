"""Recognition metrics: top-k accuracy, accuracy a class, confusion matrix; torchmetrics' arithmetic, checked inputs."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor


def top_k(scores: ArrayLike | Tensor, labels: ArrayLike | Tensor, k: int = 1) -> float:
    """Return the percentage of clips whose label is among the k best scores.

    Args:
        scores: [B, K] logits or probabilities, torch or numpy.
        labels: [B] integers in 0..K - 1.
        k: at least 1; with k >= K every label is among them.

    Raises:
        ValueError: empty or mismatched arrays, NaN scores, labels outside 0..K - 1.
    """
    from torchmetrics.functional.classification import multiclass_accuracy

    values, truth = _checked(scores, labels)
    classes = values.shape[1]
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if k >= classes:
        return 100.0
    share = multiclass_accuracy(values, truth, num_classes=classes, top_k=k, average="micro", validate_args=False)
    # The share is in single precision; the count behind it is whole, and divides in double precision.
    return 100 * round(float(share) * len(truth)) / len(truth)


def per_class(scores: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> Tensor:
    """Return the top-1 accuracy of each class's clips.

    Args:
        scores: [B, K] logits or probabilities, torch or numpy.
        labels: [B] integers in 0..K - 1.

    Returns:
        [K] float64 percent; NaN for a class without clips.

    Raises:
        ValueError: as `top_k`.
    """
    matrix = confusion_matrix(scores, labels).double()
    return 100 * matrix.diagonal() / matrix.sum(dim=1)


def confusion_matrix(scores: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> Tensor:
    """Count how often each true class (row) was taken for each class (column).

    Args:
        scores: [B, K] logits or probabilities, torch or numpy.
        labels: [B] integers in 0..K - 1.

    Returns:
        [K, K] int64 counts, on the CPU.

    Raises:
        ValueError: as `top_k`.
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    values, truth = _checked(scores, labels)
    counts: Tensor = multiclass_confusion_matrix(
        values.argmax(dim=1), truth, num_classes=values.shape[1], validate_args=False
    )
    return counts.cpu()


def _checked(scores: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
    """Return scores [B, K] float and labels [B] int64 as tensors; ValueError if no metric could be right."""
    values, truth = torch.as_tensor(scores).detach(), torch.as_tensor(labels).detach()
    if values.dim() != 2 or truth.dim() != 1 or len(values) != len(truth) or not len(truth):
        raise ValueError(f"scores [B, K] and labels [B] are needed, got {list(values.shape)} and {list(truth.shape)}")
    # A NaN would sort as the best score and count as a hit.
    if bool(torch.isnan(values).any()):
        raise ValueError("the scores hold NaN")
    if not 0 <= int(truth.min()) <= int(truth.max()) < values.shape[1]:
        raise ValueError(f"labels must lie in 0..{values.shape[1] - 1}, got {int(truth.min())}..{int(truth.max())}")
    return values.double(), truth.to(values.device, torch.int64)
