"""The segment F-score of video parsing (Tian et al., ECCV 2020): each second of each class counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Grid = NDArray[Any] | Tensor


def segment_scores(predicted: Grid, truth: Grid) -> NDArray[np.float64]:
    """Return the F-scores of clips, float64 [N, 4]: audio, visual, audio-visual, both counted together; 0..1.

    tp, fp, fn are counted over seconds for each class; a clip's score is the mean of 2 tp / (2 tp + fp + fn) over
    the classes that occur or are predicted, 1 where there are none.

    Args:
        predicted: 0 and 1, [N, 2, C, T], modalities in the order audio, visual.
        truth: the same.
    """
    counts = _counts(three_kinds(predicted), three_kinds(truth))
    return scores_of(counts)


def class_scores(predicted: Grid, truth: Grid) -> NDArray[np.float64]:
    """Return the F-score of each class over the seconds of all clips, [3, C]: audio, visual, audio-visual.

    NaN where a class neither occurs nor is predicted.
    """
    tp, wrong = (part.sum(axis=0) for part in _counts(three_kinds(predicted), three_kinds(truth)))
    return f_score(tp, wrong)


def three_kinds(grid: Grid) -> NDArray[np.bool_]:
    """Return bool [N, 3, C, T] of a grid [N, 2, C, T]: audio, visual, and what is heard and seen at once."""
    values = (grid.cpu().numpy() if isinstance(grid, Tensor) else np.asarray(grid)).astype(bool)
    return np.concatenate([values, values[:, :1] & values[:, 1:]], axis=1)


def scores_of(counts: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return [N, 4] of counts [N, 3, C]: 2 tp, and fp + fn, of audio, visual, audio-visual."""
    with_pooled = [np.concatenate([part, part[:, :1] + part[:, 1:2]], axis=1) for part in counts]
    values = f_score(with_pooled[0], with_pooled[1])
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    means: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), 1.0)
    return means


def f_score(hits: NDArray[np.int64], wrong: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return hits / (hits + wrong), where hits are 2 tp and wrong fp + fn; NaN where there are neither."""
    total = hits + wrong
    values: NDArray[np.float64] = np.where(total > 0, hits / np.maximum(total, 1), np.nan)
    return values


def _counts(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return 2 tp and fp + fn over seconds, [N, 3, C]."""
    return 2 * (predicted & truth).sum(axis=-1), (predicted ^ truth).sum(axis=-1)
