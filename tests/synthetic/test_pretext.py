"""The pretext's generated clips: what they hold, and that nothing of the demo is in them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from asgmcli.errors import UsageError
from asgmcli.synthetic import pretext
from asgmcli.synthetic.acts import ACTS
from asgmcli.synthetic.difficulty import PRETEXT, Difficulty
from asgmcli.synthetic.kinds import KINDS
from asgmcli.synthetic.motions import MOTIONS, TABLE, Clock, draw_clock
from asgmcli.synthetic.sounds import ENVELOPES, TIMBRES, play
from asgmcli.synthetic.sprites import SHAPES

PLAIN = Difficulty(
    diameter=(0.3, 0.3),
    three_sprites=0.0,
    pan=(0.0, 0.0),
    pitch=(220.0, 220.0),
    partial_jitter=0.0,
    tilt=(0.0, 0.0),
    level=(-20.0, -20.0),
    noise=(40.0, 40.0),
    other=(40.0, 40.0),
    other_share=0.0,
)


@pytest.fixture(scope="module")
def data() -> pretext.PretextClips:
    return pretext.generate(120, seed=3, workers=2)


@pytest.mark.long
def test_sizes_and_kinds(data: pretext.PretextClips) -> None:
    assert (data.frames.shape, data.frames.dtype) == ((120, 8, 48, 48, 3), np.uint8)
    assert (data.waves.shape, data.waves.dtype) == ((120, 32_000), np.float32)
    assert (data.shapes.shape, data.shapes.dtype) == ((120, len(pretext.SHAPES)), bool)
    assert (data.motions.shape, data.motions.dtype) == ((120, len(pretext.MOTIONS)), bool)
    for labels, names in ((data.timbre, pretext.TIMBRES), (data.envelope, pretext.ENVELOPES)):
        assert labels.dtype == np.int64
        assert set(labels.tolist()) == set(range(len(names)))
    assert np.abs(data.waves).max() <= 1
    assert data.waves.std(axis=1).min() > 1e-3


def test_one_to_three_sprites_each_with_a_motion(data: pretext.PretextClips) -> None:
    sprites = data.shapes.sum(axis=1)
    assert set(sprites.tolist()) == {1, 2, 3}
    np.testing.assert_array_equal(sprites, data.motions.sum(axis=1))
    assert data.shapes.any(axis=0).all()
    assert data.motions.any(axis=0).all()


def test_pictures_move(data: pretext.PretextClips) -> None:
    steps = np.abs(np.diff(data.frames.astype(int), axis=1)).max(axis=(1, 2, 3, 4))
    assert (steps > 20).all()


def test_same_clips_on_any_number_of_workers(data: pretext.PretextClips) -> None:
    alone = pretext.generate(60, seed=3, workers=0)
    for name, values in vars(alone).items():
        np.testing.assert_array_equal(values, getattr(data, name)[:60], err_msg=name)
    other = pretext.generate(2, seed=4, workers=0)
    assert not np.array_equal(other.frames, alone.frames[:2])
    assert not np.array_equal(other.waves, alone.waves[:2])


def test_sizes_follow_the_arguments() -> None:
    small = pretext.generate(3, seed=0, size=32, frames=4, stride=4, fps=16.0, rate=8000, seconds=1.0, workers=0)
    assert small.frames.shape == (3, 4, 32, 32, 3)
    assert small.waves.shape == (3, 8000)


def test_impossible_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="size = 0, rate = -1"):
        pretext.generate(1, seed=0, size=0, rate=-1)


def test_catalogues_are_disjoint_from_the_demo() -> None:
    assert len(pretext.SHAPES) >= 8
    assert len(pretext.MOTIONS) >= 6
    assert len(pretext.TIMBRES) >= 8
    assert len(pretext.ENVELOPES) >= 6
    assert not {kind.timbre for kind in KINDS} & set(pretext.TIMBRES)
    assert not {act.envelope for act in ACTS.values()} & set(pretext.ENVELOPES)
    assert set(pretext.SHAPES) == set(SHAPES)
    for names, known in (
        (pretext.MOTIONS, MOTIONS),
        (pretext.TIMBRES, TIMBRES),
        (pretext.ENVELOPES, ENVELOPES),
    ):
        assert set(names) < set(known)


def test_no_pretext_motion_moves_like_one_of_the_demo() -> None:
    """Poses over a cycle differ at every phase shift and direction."""
    u = np.arange(64) / 64

    def path(name: str, shift: float, sign: float) -> np.ndarray:
        table = np.random.default_rng(0).uniform(-1, 1, (TABLE, 2))
        pose = MOTIONS[name].pose(u + shift, Clock(1.0, 0.0, sign, table))
        turn = np.stack([np.cos(pose.angle), np.sin(pose.angle)])
        return np.concatenate([np.stack([pose.x, pose.y]) / 0.2, np.stack([pose.scale_x, pose.scale_y]), turn])

    for action in set(MOTIONS) - set(pretext.MOTIONS):
        fixed = path(action, 0.0, 1.0)
        for name in pretext.MOTIONS:
            for shift in np.arange(16) / 16:
                for sign in (-1.0, 1.0):
                    gap = np.abs(path(name, float(shift), sign) - fixed).mean()
                    assert gap > 0.06, (action, name)


def test_no_pretext_timbre_sounds_like_one_of_the_demo() -> None:
    """Log spectra of steady notes of one pitch, a semitone smoothed, are not nearly alike."""
    steady = Clock(0.01, 0.3, 1.0, np.zeros((16, 2)))

    def spectrum(name: str) -> np.ndarray:
        wave = play(np.random.default_rng(0), name, "sweep", steady, PLAIN, 16_000, 16_000)
        power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
        edges = np.geomspace(50, 8000, 81).astype(int)
        bands = np.log10(np.array([power[a:b].sum() for a, b in pairwise(edges)]) + 1)
        return bands / np.linalg.norm(bands)

    demo = {name: spectrum(name) for name in set(TIMBRES) - set(pretext.TIMBRES)}
    for name in pretext.TIMBRES:
        mine = spectrum(name)
        for other, theirs in demo.items():
            assert float(mine @ theirs) < 0.97, (name, other)


def test_no_pretext_envelope_runs_like_one_of_the_demo() -> None:
    u = np.arange(200) / 200
    clock = Clock(1.0, 0.0, 1.0, np.random.default_rng(0).uniform(-1, 1, (TABLE, 2)))

    def course(name: str, shift: float) -> np.ndarray:
        amplitude, semitones = ENVELOPES[name](u + shift, clock)
        return np.stack([amplitude, semitones / 12])

    for action in set(ENVELOPES) - set(pretext.ENVELOPES):
        fixed = course(action, 0.0)
        for name in pretext.ENVELOPES:
            gaps = [np.abs(course(name, float(shift)) - fixed).mean() for shift in np.arange(50) / 50]
            assert min(gaps) > 0.04, (action, name)


def test_the_sound_follows_the_clock_of_a_sprite() -> None:
    """A `ramp` grows through every cycle of the motion it is played on, as a rising sprite rises."""
    clock = draw_clock(np.random.default_rng(1), "rise")
    wave = play(np.random.default_rng(0), "brass", "ramp", clock, PRETEXT, 32_000, 16_000)
    loud = np.sqrt(np.square(wave.reshape(200, 160)).mean(axis=1))
    height = -MOTIONS["rise"].pose(clock.cycles((np.arange(200) + 0.5) / 100), clock).y
    assert np.corrcoef(loud, height)[0, 1] > 0.85
