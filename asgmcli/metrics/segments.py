"""Accuracy of the segments that events are placed in, and what stands beside it."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = -1
"""Label of a segment beyond its clip: it counts nowhere."""


def segment_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of segments whose largest logit (the first of equals) is the true class, 0..1.

    Args:
        logits: [n, T, K].
        labels: int64 [n, T]; segments labelled -1 do not count.

    Raises:
        ValueError: no segment counts.
    """
    predicted, true = _counted(logits.argmax(2), labels)
    return float((predicted == true).double().mean())


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Return int64 [K, K]: segments by true class (rows) and predicted class.

    Args:
        logits: [n, T, K].
        labels: int64 [n, T]; segments labelled -1 do not count.
    """
    return confusion_of(logits.argmax(2), labels, logits.shape[2])


def confusion_of(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return int64 [K, K] of predicted classes [n, T] and labels [n, T], rows truth."""
    predicted, true = _counted(predicted, labels)
    return torch.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def segment_metrics(table: Tensor) -> dict[str, float]:
    """Return percentages of a confusion matrix whose last class is the background.

    Args:
        table: int64 [K, K], rows truth.

    Returns:
        `accuracy`; `event_accuracy` and `background_accuracy`, over true events and true background (left out where
        there is none); `class_accuracy`, the mean over the classes that occur; `event_f1`, micro F1 of event segments;
        `always_background` and `right_event`, the accuracies of an answer that is always background, and of one that
        names the right event in every segment of a video.
    """
    counts = table.double()
    total, right = counts.sum(), counts.diagonal()
    occurs = counts.sum(1)
    background = occurs[-1]
    events = total - background
    found = {"accuracy": right.sum() / total}
    if events:
        found["event_accuracy"] = right[:-1].sum() / events
    if background:
        found["background_accuracy"] = right[-1] / background
    found["class_accuracy"] = (right[occurs > 0] / occurs[occurs > 0]).mean()
    # 2 tp / (2 tp + fp + fn): what is predicted as an event and what is one, together, is its denominator.
    named = events + (total - counts[:, -1].sum())
    found["event_f1"] = 2 * right[:-1].sum() / named if named else torch.ones(())
    found |= {"always_background": background / total, "right_event": events / total}
    return {name: 100 * float(value) for name, value in found.items()}


def _counted(predicted: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predicted and true classes [m] of the segments that count.

    Raises:
        ValueError: none does.
    """
    counts = labels != IGNORED
    if not bool(counts.any()):
        raise ValueError("no segment counts: every label is -1")
    return predicted[counts], labels[counts]
