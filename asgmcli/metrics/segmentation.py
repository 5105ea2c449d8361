"""Metrics of audio-visual segmentation as AVSBench computes them: intersection over union, F-score of a group.

J. Zhou et al., "Audio-Visual Segmentation", ECCV 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor

_IOU_EPS = 1e-7
_F_EPS = 1e-20
_BETA = 0.3
_THRESHOLDS = 255


def mask_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the intersection over union of each frame, float32 [N] in 0..1.

    A pixel is predicted where its probability is above .5 (a logit of 0 is background). Where the truth is empty, the
    value is the share of pixels that are predicted background.

    Args:
        logits: [N, H, W].
        truth: [N, H, W], bool or 0 and 1.
    """
    predicted, true = logits.flatten(1) > 0, truth.flatten(1) > 0
    both = (predicted & true).sum(dim=1).float()
    union = (predicted | true).sum(dim=1).float()
    background = (~predicted).sum(dim=1).float()
    empty = ~true.any(dim=1)
    return torch.where(empty, background / (predicted.shape[1] + _IOU_EPS), both / (union + _IOU_EPS))


def f_score(logits: Tensor, truth: Tensor, group: int = 5) -> Tensor:
    """Return the F-score (β² = .3) of each group of frames, float64 [groups] in 0..1; their mean is the tables' F.

    A frame's curve holds F at 255 thresholds of the probability; frames with an empty truth have none. A group's score
    is the highest point of its frames' mean curve, 0 where all are empty. So the score depends on the group.

    Args:
        logits: [N, H, W].
        truth: [N, H, W], bool or 0 and 1.
        group: frames of a group, in the given order; the last may have fewer.
    """
    curves, counted = f_curves(logits, truth)
    return group_f_scores(curves, counted, group)


def f_curves(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return each frame's F at 255 thresholds, float64 [N, 255], and whether its truth has a pixel, bool [N].

    The pixels at or above every threshold are counted by one histogram a frame.
    """
    thresholds = torch.linspace(0, 1 - 1e-10, _THRESHOLDS, device=logits.device)
    probability, true = logits.float().sigmoid().flatten(1), truth.flatten(1) > 0
    places = torch.bucketize(probability, thresholds, right=True)  # how many thresholds lie at or below
    predicted = _at_least(places, torch.ones_like(true))
    hits = _at_least(places, true)
    precision, recall = hits / (predicted + _F_EPS), hits / (true.sum(dim=1, keepdim=True) + _F_EPS)
    curves = (1 + _BETA) * precision * recall / (_BETA * precision + recall)
    return curves.nan_to_num(0.0), true.any(dim=1)


def group_f_scores(curves: Tensor, counted: Tensor, group: int) -> Tensor:
    """Return the score of each group of frames, float64 [groups], of their curves [N, 255] (see `f_curves`)."""
    scores = []
    for first in range(0, len(curves), group):
        own = curves[first : first + group][counted[first : first + group]]
        scores.append(own.mean(dim=0).max() if len(own) else curves.new_zeros(()))
    return torch.stack(scores) if scores else curves.new_zeros(0)


def _at_least(places: Tensor, chosen: Tensor) -> Tensor:
    """Return float64 [N, 255]: how many of a frame's chosen pixels reach each threshold."""
    count = len(places)
    offsets = torch.arange(count, device=places.device)[:, None] * (_THRESHOLDS + 1)
    bins = torch.bincount((places + offsets)[chosen], minlength=count * (_THRESHOLDS + 1))
    bins = bins.view(count, _THRESHOLDS + 1)[:, 1:]
    return bins.flip(1).cumsum(dim=1).flip(1).double()
