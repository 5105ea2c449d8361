"""Confidence of the motion localizer: does a clip's own sound fit its motion better than other sounds would?

Some cell of a picture correlates with any sound, even with noise or with music under a fading caption. So the best
correlation of the true sound is compared with those of the same sound played at other speeds and from other places,
forwards and backwards. Other places alone are not enough: a ball that bounces every second fits its own sound of a
second later.

Confidence decides which boxes are drawn, not the maps: a mask follows a clip's map whatever the confidence. On 220
generated clips of two seconds the hottest cell of clips with low confidence still lies on the source in 48% of the
frames (60% with high confidence, chance 8%). Only if there is nothing to compare (silence, near silence, a still
picture) is the map uniform; a guided mask is then drawn evenly, like a tube.

Letters: F frames in time order, n loudness values, h x w cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asgmcli.localize.motion import (
    LAG_WEIGHTS,
    LAGS,
    LEVEL_NOISE,
    LOUDNESS_RATE,
    MOTION_NOISE,
    ONSET_NOISE,
    QUIET,
    STILL,
    blurred,
    curves_before,
    no_evidence,
    running_totals,
)

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

ENOUGH = 0.95
"""Confidence from which a place is believed: one of twenty sounds unrelated to the picture gets there."""
SPAN = 3.0
"""Seconds of motion and sound that are compared at once."""

_STRIDE = 0.5  # s from one comparison to the next; confidence is linear between them
_HEARD = 0.5  # s around a frame in which something must sound
_OTHERS = 200  # sounds compared with: steps of confidence of 0.005
_SPEEDS = (0.6, 0.75, 1.35, 1.7)  # of the others; far enough from 1 that no beat of the clip's own returns
_FEWEST = 4  # frames: fewer correlate with anything
_FEWEST_RISES = 3  # of a place's motion in a span: a caption that fades in with a note, and out with one, is chance


def confidence(motion: Floats, level: Floats, times: ArrayLike) -> Floats:
    """Return for each frame how surely what moves makes the sound, float32 [F] in [0, 1].

    It is the share of other sounds whose largest correlation with any cell, in the seconds around the frame, is below
    that of the clip's own sound. For sound that has nothing to do with the picture it is spread evenly over 0 to 1. It
    is 0 without motion, without sound, and in a clip of fewer than four frames.

    Args:
        motion: motion energy [F,h,w], see `asgmcli.localize.motion.cell_motion`.
        level: loudness [n], 100 values a second, see `asgmcli.localize.motion.loudness`.
        times: seconds [F], rising, on the clock of the sound.
    """
    moments = np.asarray(times, dtype=np.float64)
    if len(moments) < _FEWEST or no_evidence(motion, level):
        return np.zeros(len(moments), np.float32)
    totals = running_totals(level)
    step = float(np.median(np.diff(moments)))
    speeds, places = _other_sounds(len(level) / LOUDNESS_RATE)
    centres = _centres(moments)
    found = np.zeros(len(centres))
    for number, centre in enumerate(centres):
        low = int(np.searchsorted(moments, centre - SPAN / 2 - 1e-6))
        high = int(np.searchsorted(moments, centre + SPAN / 2 + 1e-6))
        part, around = motion[low:high], moments[low:high]
        if high - low < _FEWEST or float(part.max()) < STILL or not _is_heard(level, centre, SPAN / 2):
            continue
        own = around + np.array(LAGS)[:, None]
        others = _reflected(own * speeds[:, None, None] + places[:, None, None], len(level) / LOUDNESS_RATE)
        curves = curves_before(totals, np.concatenate([own[None], others]), step)
        cells = np.sqrt(blurred(part).reshape(len(part), -1))
        best, cell = _best_correlations(cells, curves)
        if _rises(cells[:, cell]) >= _FEWEST_RISES:
            found[number] = (best[0] > best[1:]).mean() + (best[0] == best[1:]).mean() / 2
    result = np.interp(moments, centres, found)
    result[[not _is_heard(level, time, _HEARD) for time in moments]] = 0
    return result.astype(np.float32)


def _other_sounds(seconds: float) -> tuple[Doubles, Doubles]:
    """Return the speeds and the places, in seconds, of the sounds compared with; the same for clips of one length."""
    places = np.random.default_rng(0).uniform(0, 2 * seconds, _OTHERS)
    return np.resize(np.array(_SPEEDS), _OTHERS), places


def _reflected(times: Doubles, seconds: float) -> Doubles:
    """Return times brought into 0 to `seconds`, back and forth: at the ends no onset arises that the sound lacks."""
    within = np.mod(times, 2 * seconds)
    return np.minimum(within, 2 * seconds - within)


def _centres(moments: Doubles) -> Doubles:
    """Return the middles of the spans compared, each as far as it can inside the clip."""
    first, last = float(moments[0]), float(moments[-1])
    if last - first <= SPAN:
        return np.array([(first + last) / 2])
    count = int(np.ceil((last - first - SPAN) / _STRIDE)) + 1
    return np.linspace(first + SPAN / 2, last - SPAN / 2, count)


def _is_heard(level: Floats, time: float, reach: float) -> bool:
    low, high = round((time - reach) * LOUDNESS_RATE), round((time + reach) * LOUDNESS_RATE)
    return float(level[max(low, 0) : max(high, 0)].max(initial=0)) >= QUIET


def _rises(curve: Doubles) -> int:
    """Return how often a curve [n] comes up through its mean, by a quarter deviation at least, the start included."""
    high = float(curve.mean() + curve.std() / 4)
    low = float(curve.mean() - curve.std() / 4)
    # Between the two levels the state does not change.
    states = (curve >= high).astype(int) - (curve <= low)
    told = states[states != 0]
    return int((np.diff(told, prepend=-1) > 0).sum())


def _best_correlations(cells: Doubles, curves: Doubles) -> tuple[Doubles, int]:
    """Return the largest weighted correlation of each sound with any cell, [sounds], and the first sound's cell.

    Args:
        cells: root of the motion, [frames, h w].
        curves: log loudness and onsets of each sound at each lag, [2, sounds, lags, frames].
    """
    motion = cells - cells.mean(axis=0)
    spread = np.sqrt((motion**2).mean(axis=0) + MOTION_NOISE)
    sounds = curves - curves.mean(axis=-1, keepdims=True)
    noise = np.array([LEVEL_NOISE, ONSET_NOISE])[:, None, None]
    deviation = np.sqrt((sounds**2).mean(axis=-1) + noise) / np.array(LAG_WEIGHTS)
    together: Doubles = sounds @ (motion / spread) / len(cells) / deviation[..., None]
    best: Doubles = together.max(axis=(0, 2, 3))
    return best, int(together[:, 0].max(axis=(0, 1)).argmax())
