"""The event F-score of video parsing (Tian et al., ECCV 2020): each run of seconds of a class counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asgmcli.metrics.parsing_segments import Grid, scores_of, three_kinds


def event_scores(predicted: Grid, truth: Grid) -> NDArray[np.float64]:
    """Return the F-scores of clips, float64 [N, 4]: audio, visual, audio-visual, both counted together; 0..1.

    A predicted run is right if any true run of its class shares at least half of their union, which need not be one to
    one; a true run that no prediction matches is missed.

    Args:
        predicted: 0 and 1, [N, 2, C, T], modalities in the order audio, visual.
        truth: the same.
    """
    guess, true = three_kinds(predicted), three_kinds(truth)
    cells = guess.shape[:-1]
    guess, true = guess.reshape(-1, guess.shape[-1]), true.reshape(-1, true.shape[-1])
    guessed, present = _runs(guess), _runs(true)
    matched_guess, matched_true = _matches(guessed, present)
    size = int(np.prod(cells))
    tp = _count(guessed[0][matched_guess], size)
    fp = _count(guessed[0][~matched_guess], size)
    fn = _count(present[0][~matched_true], size)
    return scores_of(((2 * tp).reshape(cells), (fp + fn).reshape(cells)))


Runs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Row, first second and the one after the last of each run, in order."""


def _runs(rows: NDArray[np.bool_]) -> Runs:
    """Return the runs of rows [M, T]."""
    padded = np.zeros((len(rows), rows.shape[1] + 2), np.int8)
    padded[:, 1:-1] = rows
    change = np.diff(padded, axis=1)
    row, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return row, start, end


def _matches(guessed: Runs, present: Runs) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which runs of each have one of the other, of the same row, with intersection >= half the union."""
    first = np.searchsorted(present[0], guessed[0], side="left")
    count = np.searchsorted(present[0], guessed[0], side="right") - first
    one = np.repeat(np.arange(len(guessed[0])), count)
    other = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    (_, start, end), (_, true_start, true_end) = guessed, present
    shared = np.minimum(end[one], true_end[other]) - np.maximum(start[one], true_start[other])
    union = end[one] - start[one] + true_end[other] - true_start[other] - np.maximum(shared, 0)
    good = 2 * shared >= union
    found, hit = np.zeros(len(guessed[0]), bool), np.zeros(len(present[0]), bool)
    found[one[good]] = True
    hit[other[good]] = True
    return found, hit


def _count(rows: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.bincount(rows, minlength=size)
