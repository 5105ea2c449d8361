"""Localization metrics: how well a heat map covers the boxes people drew around what sounds.

cIoU, its success rate and the area under its curve follow A. Senocak et al., "Learning to Localize Sound Source in
Visual Scenes", CVPR 2018, as FNAC's released evaluation computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Array = npt.NDArray[np.float64]
Values: TypeAlias = npt.ArrayLike | torch.Tensor
"""What numpy makes an array of, or a tensor on any device."""

# Agreement of this many annotators makes a pixel count in full (Flickr-SoundNet).
_CONSENSUS = 2
_SUCCESS_STEPS = 21


def ciou(heatmap: Values, boxes_map: Values, threshold: float) -> float:
    """Return the consensus intersection over union of the map's hot pixels with the boxes.

    cIoU = Σ_hot g / (Σ g + number of hot pixels with g = 0), where hot means map >= threshold.

    Args:
        heatmap: [H, W] in the threshold's scale (see `normalise_map`), torch or numpy.
        boxes_map: [H, W] g in 0..1, of `boxes_map`.
        threshold: a hot pixel is at least this.

    Returns:
        0..1; 0 if nothing is hot and no box is given.

    Raises:
        ValueError: shapes that differ, or NaN.
    """
    hot_map, boxes = _array(heatmap), _array(boxes_map)
    if hot_map.shape != boxes.shape or hot_map.ndim != 2:
        raise ValueError(f"map and boxes must share one shape [H, W], got {hot_map.shape} and {boxes.shape}")
    if np.isnan(hot_map).any() or np.isnan(boxes).any():
        raise ValueError("the map or the boxes hold NaN")
    hot = hot_map >= threshold
    union = float(boxes.sum() + (hot & (boxes == 0)).sum())
    return float(boxes[hot].sum()) / union if union > 0 else 0.0


def evaluate_ciou(
    heatmaps: Sequence[Values],
    boxes_maps: Sequence[Values],
    threshold: float | Sequence[float] | None = None,
    *,
    filter: Literal["bilinear", "bicubic"] = "bilinear",
) -> dict[str, float]:
    """Compute cIoU over a test set; each map is resized to its boxes' size and min-max normalised first.

    Args:
        heatmaps: one [h, w] an image, any scale.
        boxes_maps: one [H, W] an image.
        threshold: in the normalised map's 0..1, one for all or one an image; None takes each map's own median, so
            that half of the pixels are hot (the released evaluation).
        filter: how a map is resized, see `resize_map`.

    Returns:
        `ciou50`, `mean` and `auc` of `summarize_ciou`.

    Raises:
        ValueError: lists that are empty or of different lengths, or see `ciou`.
    """
    if len(heatmaps) != len(boxes_maps):
        raise ValueError(f"each map needs its boxes, got {len(heatmaps)} maps and {len(boxes_maps)}")
    if threshold is None or isinstance(threshold, (int, float)):
        thresholds: list[float | None] = [threshold] * len(heatmaps)
    else:
        thresholds = list(threshold)
    values = []
    for heatmap, boxes_map, cut in zip(heatmaps, boxes_maps, thresholds, strict=True):
        boxes = _array(boxes_map)
        normal = normalise_map(resize_map(heatmap, boxes.shape, filter=filter))
        values.append(ciou(normal, boxes, median_threshold(normal) if cut is None else cut))
    return summarize_ciou(values)


def summarize_ciou(values: Sequence[float]) -> dict[str, float]:
    """Summarise a test set's cIoU.

    Args:
        values: one cIoU in 0..1 an image.

    Returns:
        `ciou50`: share of images with cIoU >= 0.5 (printed as "cIoU" by the papers); `mean`; `auc`: area under the
        share of images that reach 0, .05, ..., 1. All in 0..1.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("no images to evaluate")
    reached = np.asarray(values, dtype=np.float64)
    steps = 0.05 * np.arange(_SUCCESS_STEPS)
    curve = (reached[None] >= steps[:, None]).mean(axis=1)
    area = float(((curve[1:] + curve[:-1]) / 2 * np.diff(steps)).sum())
    return {"ciou50": float((reached >= 0.5).mean()), "mean": float(reached.mean()), "auc": area}


def resize_map(heatmap: Values, size: tuple[int, ...], *, filter: Literal["bilinear", "bicubic"] = "bilinear") -> Array:
    """Resize a map [h, w] to [H, W]: bilinear with aligned corners, or bicubic without.

    FNAC's released test script prints both; the epoch that it keeps is the best by the first.
    """
    values = torch.as_tensor(_array(heatmap))
    resized = F.interpolate(values[None, None], size=tuple(size), mode=filter, align_corners=filter == "bilinear")
    result: Array = resized[0, 0].numpy()
    return result


def normalise_map(heatmap: Values) -> Array:
    """Scale a map [H, W] to 0..1 by its own least and greatest value; a flat map stays as it is."""
    values = _array(heatmap)
    low, high = values.min(), values.max()
    return values if high == low else (values - low) / (high - low)


def median_threshold(heatmap: Values) -> float:
    """Return the value at rank H·W // 2 of the sorted map, at or above which half of the pixels lie."""
    return float(np.sort(_array(heatmap), axis=None)[np.size(_array(heatmap)) // 2])


def union_map(boxes: Values, size: int | tuple[int, int]) -> Array:
    """Draw one annotation's boxes as a map (VGG-SS): 1 inside any of them.

    Args:
        boxes: [n, 4] x1, y1, x2, y2 as fractions of the image.
        size: (H, W), or one number for both.

    Returns:
        [H, W] of 0 and 1.
    """
    return np.minimum(_count_map(boxes, size), 1.0)


def consensus_map(boxes: Values, size: int | tuple[int, int], annotators: Sequence[int] | None = None) -> Array:
    """Draw several annotators' boxes as a map (Flickr-SoundNet): min(1, number of annotators / 2) in each pixel.

    Args:
        boxes: [n, 4] x1, y1, x2, y2 as fractions of the image.
        size: (H, W), or one number for both.
        annotators: [n] who drew each box, so that one person's overlapping boxes count once; None: each box is
            another person's.

    Returns:
        [H, W] in 0, 0.5, 1.

    Raises:
        ValueError: not one annotator a box.
    """
    corners = _array(boxes).reshape(-1, 4)
    people = list(range(len(corners))) if annotators is None else list(annotators)
    if len(people) != len(corners):
        raise ValueError(f"each box needs its annotator, got {len(corners)} boxes and {len(people)} annotators")
    votes = np.zeros(_size(size))
    for person in sorted(set(people)):
        votes += union_map(corners[[other == person for other in people]], size)
    return np.minimum(votes / _CONSENSUS, 1.0)


def boxes_map(boxes: Values, size: int | tuple[int, int], annotators: Sequence[int]) -> Array:
    """Return the boxes as the map their data set is evaluated on: `consensus_map`, or `union_map` of one annotation.

    Args:
        boxes: [n, 4] x1, y1, x2, y2 as fractions of the image.
        size: (H, W), or one number for both.
        annotators: [n] who drew each box, from 1 (Flickr-SoundNet); 0 for all is one agreed annotation (VGG-SS, demo).

    Returns:
        [H, W] in 0..1.
    """
    return consensus_map(boxes, size, annotators) if any(annotators) else union_map(boxes, size)


def inside_share(heatmaps: Values, boxes: Values) -> tuple[float, float]:
    """Return how often the map's hottest cell lies in the box, and how often chance would put it there.

    Args:
        heatmaps: [n, h, w], torch or numpy.
        boxes: [n, 4] x1, y1, x2, y2 as fractions of the image.

    Returns:
        The share of maxima whose cell centre is inside the box (cells that tie share the maximum, so that a flat map
        does no better than chance), and the mean share of the image that the boxes cover. Both in 0..1.

    Raises:
        ValueError: no maps, NaN, or counts that differ.
    """
    maps, corners = _array(heatmaps), _array(boxes)
    if maps.ndim != 3 or corners.shape != (len(maps), 4) or not len(maps):
        raise ValueError(f"maps [n, h, w] and boxes [n, 4] are needed, got {maps.shape} and {corners.shape}")
    if np.isnan(maps).any():
        raise ValueError("the maps hold NaN")
    x1, y1, x2, y2 = corners.clip(0, 1).T[:, :, None, None]
    rows = ((np.arange(maps.shape[1]) + 0.5) / maps.shape[1])[None, :, None]
    columns = ((np.arange(maps.shape[2]) + 0.5) / maps.shape[2])[None, None, :]
    inside = (x1 <= columns) & (columns <= x2) & (y1 <= rows) & (rows <= y2)
    hottest = maps == maps.max(axis=(1, 2), keepdims=True)
    hits = (hottest & inside).sum(axis=(1, 2)) / hottest.sum(axis=(1, 2))
    return float(hits.mean()), float(((x2 - x1).clip(0) * (y2 - y1).clip(0)).mean())


def _count_map(boxes: Values, size: int | tuple[int, int]) -> Array:
    """Return [H, W]: how many of the boxes [n, 4] (fractions) cover each pixel; borders are cut to whole pixels."""
    height, width = _size(size)
    count = np.zeros((height, width))
    for box in _array(boxes).reshape(-1, 4).clip(0, 1):
        # The small addition keeps a fraction that stands for a whole pixel from falling one below it.
        x1, y1, x2, y2 = np.floor(box * (width, height, width, height) + 1e-6).astype(int)
        count[y1:y2, x1:x2] += 1
    return count


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _array(values: Values) -> Array:
    """Convert torch or numpy to a float64 numpy array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
