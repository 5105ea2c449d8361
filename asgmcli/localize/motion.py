"""The motion localizer: the sound's source is what moves in time with it. It has no weights and needs no training.

For each cell of the token grid, motion over time is correlated with the sound's loudness and onsets in a window that
slides over the clip, as in J. Hershey and J. Movellan, "Audio Vision: Using Audio-Visual Synchrony to Locate Sounds"
(NIPS 1999), and weighted by the root of the motion. Letters: F frames in time order, S samples, h x w cells.

A clip of any length can be read piece by piece: `gray` and `cell_motion` take frame after frame, `loudness` takes
stretches of sound, and `synchrony` looks at a few minutes at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Floats = NDArray[np.float32]

GRID = (14, 14)
WINDOW = 2.0
"""Seconds over which motion and sound are compared."""
LOUDNESS_RATE = 100
"""Loudness values a second."""
CELL = 8
"""Pixels a cell is looked at with, each way: enough to see a mouth move, few enough to be quick."""

LAGS = (-0.25, -0.125, 0.0, 0.125, 0.25)
"""Seconds by which sound may be late: a blow sounds when the motion ends, a voice while it lasts."""
LAG_WEIGHTS = (0.8, 0.9, 1.0, 0.9, 0.8)
"""Of two equal correlations the one in step counts."""
MOTION_NOISE, LEVEL_NOISE, ONSET_NOISE = 1e-2, 1e-3, 1e-5
"""Variances of a cell's root motion, of log loudness and of onsets that mean nothing."""
_NOW = 0.3  # s around a frame in which a cell's motion counts as the frame's own
_LATELY = 0.1  # weight of its motion in the whole window: what sounded keeps some heat while it rests
_FLOOR = 1e-4  # amplitude of silence, -80 dB of full scale
QUIET = 10 ** (-55 / 20)
"""Loudness below which a sound is as good as none, -55 dB of full scale: the hiss of a microphone, not a source."""
STILL = 0.05
"""Motion in grey levels below which nothing moves; compression noise of a still picture is about as large."""
_FAINT, _FAINT_LATELY = 0.15, 0.5  # of the strongest score of the clip, of the window: with less a frame stays dim
_UNIFORM = 1.0  # value of a map that says nothing, as the trained localizer gives it
_CHUNK = 2048  # frames compared at once; bounds the memory whatever the clip's length


def gray(frame: NDArray[np.uint8], grid: tuple[int, int] = GRID) -> Floats:
    """Return a frame [H,W,3] or [H,W] as grey levels float32 [8h, 8w], each cell eight pixels high and wide."""
    if min(grid) < 1:
        raise ValueError(f"a grid of {grid[0]} x {grid[1]} cells")
    picture = Image.fromarray(frame).convert("L").resize((grid[1] * CELL, grid[0] * CELL), Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float32)


def cell_motion(before: Floats, after: Floats, grid: tuple[int, int] = GRID) -> Floats:
    """Return the motion energy [h,w] between two frames of `gray`, in grey levels.

    The median of the absolute difference is subtracted to suppress global change: a moving camera or the light.
    """
    change = np.abs(after - before)
    change = np.maximum(change - np.median(change), 0)
    energy: Floats = change.reshape(grid[0], CELL, grid[1], CELL).mean(axis=(1, 3))
    return energy


def loudness(wave: Floats, rate: int) -> Floats:
    """Return the root mean square of each hundredth of a second, float32 [100 S / rate], without an incomplete last
    one.

    Results of spans whose length is a multiple of rate / 100 samples can be concatenated.
    """
    hop = rate // LOUDNESS_RATE
    blocks = np.asarray(wave, dtype=np.float32)[: len(wave) // hop * hop].reshape(-1, hop)
    loudness: Floats = np.sqrt(np.einsum("ns,ns->n", blocks, blocks) / hop)
    return loudness


def no_sound(level: Floats) -> str | None:
    """Return why the loudness [n] holds nothing to hear; None if it does."""
    return "the clip is silent" if float(level.max(initial=0)) < _FLOOR else None


def no_evidence(motion: Floats, level: Floats) -> str | None:
    """Return why a clip with motion [F,h,w] and loudness [n] gives no evidence; None if it does."""
    silence = no_sound(level)
    if silence:
        return silence
    if float(level.max()) < QUIET:
        return "the clip is nearly silent"
    if len(motion) < 2:
        return "a single frame shows no motion"
    if float(motion.max()) < STILL:
        return "nothing moves"
    return None


def synchrony(motion: Floats, level: Floats, times: ArrayLike, *, window: float = WINDOW) -> Floats:
    """Return maps float32 [F,h,w] in [0, 1] from motion [F,h,w], loudness [n] and the frames' times in seconds [F].

    A cell's score is its largest correlation with loudness or onsets (sound up to a quarter second early or late)
    inside the window, times the root of its motion just then. A frame's map reaches 1, or less where its evidence is
    far below that of the frames around it or of the whole clip.
    """
    moments = np.asarray(times, dtype=np.float64)
    frames, height, width = motion.shape
    if no_evidence(motion, level):
        return np.full(motion.shape, _UNIFORM, np.float32)
    scores = np.empty(motion.shape, np.float32)
    reach = max(window, _NOW) / 2
    step = float(np.median(np.diff(moments)))
    sounds = curves_before(running_totals(level), moments + np.array(LAGS)[:, None], step)
    for start in range(0, frames, _CHUNK):
        end = min(start + _CHUNK, frames)
        # Overlap by the window on both sides, so that chunk borders have no effect.
        low = int(np.searchsorted(moments, moments[start] - reach - 1e-6))
        high = int(np.searchsorted(moments, moments[end - 1] + reach + 1e-6))
        piece = _scores(blurred(motion[low:high]), sounds[:, :, low:high], moments[low:high], window)
        scores[start:end] = piece[start - low : end - low].reshape(-1, height, width)
    return _scaled(scores, min(round(window / max(step, 1e-3)), frames))


def running_totals(level: Floats) -> NDArray[np.float64]:
    """Return the running totals of log loudness and of onsets, [2, n + 1], from loudness [n]; for `curves_before`."""
    log = np.log(level.astype(np.float64) + _FLOOR)
    onset = np.maximum(np.diff(log, prepend=log[:1]), 0)
    return np.pad(np.cumsum([log, onset], axis=1), ((0, 0), (1, 0)))


def curves_before(totals: NDArray[np.float64], ends: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Return mean log loudness and onsets, [2, ...], in the `step` seconds before each of `ends` [...], in seconds."""
    last = np.clip(np.round(ends * LOUDNESS_RATE), 1, totals.shape[1] - 1).astype(int)
    first = np.minimum(np.clip(np.round((ends - step) * LOUDNESS_RATE), 0, None).astype(int), last - 1)
    means: NDArray[np.float64] = (totals[:, last] - totals[:, first]) / (last - first)
    return means


def _scores(
    motion: NDArray[np.float64], sounds: NDArray[np.float64], times: NDArray[np.float64], window: float
) -> NDArray[np.float64]:
    """Return scores [F, h w] of motion [F,h,w] and sounds [2, lags, F]."""
    # The root limits the few cells that change most, so that one jump does not dominate a window.
    cells = np.sqrt(motion.reshape(len(motion), -1))
    mean = _windowed(cells, times, window)
    spread = np.sqrt(np.maximum(_windowed(cells**2, times, window) - mean**2, 0) + MOTION_NOISE)
    best = np.zeros_like(cells)
    for curves, noise in zip(sounds, (LEVEL_NOISE, ONSET_NOISE), strict=True):
        for curve, weight in zip(curves, LAG_WEIGHTS, strict=True):
            x = (curve - curve.mean())[:, None]
            average = _windowed(x, times, window)
            deviation = np.sqrt(np.maximum(_windowed(x**2, times, window) - average**2, 0) + noise)
            together = _windowed(cells * x, times, window) - mean * average
            np.maximum(best, weight * together / (spread * deviation), out=best)
    flat = motion.reshape(len(motion), -1)
    moved = _windowed(flat, times, _NOW) + _LATELY * _windowed(flat, times, window)
    result: NDArray[np.float64] = best * np.sqrt(moved)
    return result


def _windowed(values: NDArray[np.float64], times: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Return the mean of values [F,N] over the frames within `seconds` / 2 of each frame."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    low = np.searchsorted(times, times - seconds / 2 - 1e-6)
    high = np.searchsorted(times, times + seconds / 2 + 1e-6)
    result: NDArray[np.float64] = (total[high] - total[low]) / (high - low)[:, None]
    return result


def blurred(maps: Floats) -> NDArray[np.float64]:
    """Add half of its neighbours' motion to each cell, [F,h,w]: what moves does not stop at a cell's border."""
    padded = np.pad(maps.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    result: NDArray[np.float64] = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    return result


def _scaled(scores: Floats, width: int) -> Floats:
    """Return scores [F,h,w] in [0, 1], relative to `width` frames around; a frame without any becomes uniform."""
    low = scores.min(axis=(1, 2))
    reach = scores.max(axis=(1, 2)) - low
    half = width // 2
    lately = np.lib.stride_tricks.sliding_window_view(np.pad(reach, half), 2 * half + 1).max(axis=1)
    scale = np.maximum.reduce([reach, _FAINT_LATELY * lately, np.full_like(reach, _FAINT * reach.max())])
    some = (reach > 0)[:, None, None]
    maps: Floats = np.divide(scores - low[:, None, None], scale[:, None, None], where=some, out=np.zeros_like(scores))
    return np.where(some, maps, np.float32(_UNIFORM))
