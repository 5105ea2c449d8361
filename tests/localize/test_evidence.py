"""Confidence on motion and loudness made by hand, and on real clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.localize.clip_maps import motion_clip_maps
from asgmcli.localize.evidence import ENOUGH, _best_correlations, _reflected, _rises, confidence
from asgmcli.localize.motion import LAG_WEIGHTS, LEVEL_NOISE, MOTION_NOISE, ONSET_NOISE

SHARED = Path(__file__).parents[2].parent / "shared" / "clips"
FPS, SECONDS = 12.5, 8.0
TIMES = np.arange(round(FPS * SECONDS)) / FPS
CLOCK = np.arange(round(100 * SECONDS)) / 100
NOISE = 1e-3  # loudness of a quiet room


def strikes(rng: np.random.Generator, regular: bool) -> np.ndarray:
    """Times of blows, s: every 0.8 s, or 0.4 to 1 s apart."""
    return rng.uniform(0, 0.8) + (np.arange(12) * 0.8 if regular else np.cumsum(rng.uniform(0.4, 1.0, 24)))


def ringing(rng: np.random.Generator, times: np.ndarray, loud: float = 0.3) -> np.ndarray:
    """Loudness [n] of blows that die away within a quarter second, in a quiet room."""
    since = CLOCK[:, None] - times
    rings = np.where(since >= 0, np.exp(-12 * np.maximum(since, 0)), 0).max(axis=1)
    return (loud * rings + NOISE * rng.uniform(0.9, 1.1, len(CLOCK))).astype(np.float32)


def struck(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Motion [F,14,14]: one cell moves ever faster until each blow, above noise everywhere."""
    motion = rng.uniform(0, 0.3, (len(TIMES), 14, 14))
    until = times - TIMES[:, None]
    motion[:, 9, 4] += np.where(until > -0.08, np.exp(-6 * np.maximum(until, 0)), 0).max(axis=1) * 40
    return motion.astype(np.float32)


def tune(rng: np.random.Generator) -> np.ndarray:
    """Loudness [n] of notes of uneven length and strength."""
    return ringing(rng, np.cumsum(rng.choice([0.25, 0.5, 0.75, 1.0], 40)), 0.2) + np.float32(0.02)


@pytest.mark.parametrize("regular", [True, False])
def test_what_moves_with_its_sound_is_sure(regular: bool) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        times = strikes(rng, regular)
        found = confidence(struck(rng, times), ringing(rng, times), TIMES)
        assert found.dtype == np.float32
        assert found.shape == TIMES.shape
        assert (found >= ENOUGH).mean() > 0.7, (seed, found)  # before the first blow nothing is heard


def test_confidence_is_spread_evenly_where_sound_and_picture_have_nothing_to_do_with_each_other() -> None:
    found = []  # and a little lower, where something moves twice only
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found.append(confidence(struck(rng, strikes(rng, False)), tune(rng), TIMES))
    values = np.concatenate(found)
    assert 0.25 < values.mean() < 0.6
    assert (values >= ENOUGH).mean() < 0.1
    assert (values < 0.2).mean() > 0.08


def test_a_caption_that_fades_in_and_out_over_music_is_not_sure() -> None:
    sure = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        start = rng.uniform(1, 4)
        since = TIMES - start
        fades = ((since > 0) & (since < 1.2)) | ((since > 2.5) & (since < 3.7))
        motion = rng.uniform(0, 0.3, (len(TIMES), 14, 14)).astype(np.float32)
        motion[:, 10:12, 2:12] += 8 * fades[:, None, None]
        sure += confidence(motion, tune(rng), TIMES).max() >= ENOUGH
    assert sure <= 1  # chance has its share; without the count of rises it were 3


def test_nothing_is_sure_without_sound_or_motion() -> None:
    rng = np.random.default_rng(0)
    times = strikes(rng, True)
    motion, level = struck(rng, times), ringing(rng, times)
    assert confidence(motion, level, TIMES)[10:].min() > ENOUGH
    hiss = ringing(rng, times, 0.0)  # below -55 dB
    for moves, heard in ((motion, level * 0), (motion, level[:0]), (motion, hiss), (motion * 1e-3, level)):
        found = confidence(moves, heard, TIMES)
        assert not found.any()
        assert found.shape == TIMES.shape
    assert not confidence(motion[:3], level, TIMES[:3]).any()
    assert not confidence(motion[:1], level, TIMES[:1]).any()
    assert np.isfinite(confidence(motion[:8], level[:64], TIMES[:8])).all()


def test_what_moves_in_a_silent_stretch_is_not_sure() -> None:
    rng = np.random.default_rng(1)
    times = strikes(rng, True)
    level = ringing(rng, times)
    level[400:] = NOISE
    found = confidence(struck(rng, times), level, TIMES)
    assert (found[(TIMES > 1) & (TIMES < 3)] >= ENOUGH).all()
    assert not found[TIMES > 4.6].any()


def test_the_same_clip_is_as_sure_every_time() -> None:
    rng = np.random.default_rng(2)
    motion, level = struck(rng, strikes(rng, False)), tune(rng)
    assert np.array_equal(confidence(motion, level, TIMES), confidence(motion, level, TIMES))


def test_times_go_back_and_forth() -> None:
    found = _reflected(np.array([-1.0, 0.0, 2.5, 3.0, 4.0, 6.0, 7.0]), 3.0)
    assert found.tolist() == [1.0, 0.0, 2.5, 3.0, 2.0, 0.0, 1.0]


def test_best_correlations_against_a_slow_reference() -> None:
    rng = np.random.default_rng(0)
    cells, curves = rng.normal(size=(20, 6)), rng.normal(size=(2, 3, 5, 20))
    slow = np.full(3, -1.0)
    for kind, noise in enumerate((LEVEL_NOISE, ONSET_NOISE)):
        for sound in range(3):
            for lag, weight in enumerate(LAG_WEIGHTS):
                for cell in range(6):
                    together = np.cov(cells[:, cell], curves[kind, sound, lag], bias=True)
                    spread = np.sqrt((together[0, 0] + MOTION_NOISE) * (together[1, 1] + noise))
                    slow[sound] = max(slow[sound], weight * together[0, 1] / spread)
    best, cell = _best_correlations(cells, curves)
    assert np.allclose(best, slow)
    alone = [_best_correlations(cells[:, [one]], curves)[0][0] for one in range(6)]
    assert cell == int(np.argmax(alone))


def test_rises_by_hand() -> None:
    assert _rises(np.array([0.0, 1, 0, 1, 0, 1])) == 3
    assert _rises(np.array([1.0, 1, 0, 0, 1, 0])) == 2  # the start is one
    assert _rises(np.array([0.0, 4, 2, 4, 2, 4, 0])) == 1  # about the mean is no fall
    assert _rises(np.zeros(5)) <= 1


def test_a_real_dog_is_sure_where_it_barks_and_a_moving_camera_is_not() -> None:
    if not SHARED.is_dir():
        pytest.skip("the real clips are not here")
    found = motion_clip_maps(SHARED / "llp_barking_dog.mp4")
    assert found.confidence[(found.times > 7.5) & (found.times < 9.5)].min() >= ENOUGH
    assert found.confidence[found.times < 2].max() < 0.5
    assert motion_clip_maps(SHARED / "flipping_pancake.mkv").confidence.max() < ENOUGH
