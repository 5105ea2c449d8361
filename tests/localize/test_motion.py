from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from asgmcli.localize.motion import _windowed, cell_motion, gray, loudness, no_evidence, synchrony

RATE = 16000


def motion_of(frames: np.ndarray, grid: tuple[int, int] = (14, 14)) -> np.ndarray:
    small = [gray(frame, grid) for frame in frames]
    motion = [cell_motion(one, other, grid) for one, other in pairwise(small)]
    return np.stack([motion[0] if motion else np.zeros(grid, np.float32), *motion])


def motion_maps(
    frames: np.ndarray, times: np.ndarray, wave: np.ndarray, rate: int, grid: tuple[int, int] = (14, 14)
) -> np.ndarray:
    return synchrony(motion_of(frames, grid), loudness(wave, rate), times)


class Scene:
    """Two squares on a texture: the left one shakes in time with the sound's beats, the right one at other times."""

    def __init__(
        self, fps: float, seconds: float, pan: float = 0.0, size: tuple[int, int] = (96, 128), seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        height, width = size
        self.times = np.arange(round(fps * seconds)) / fps
        texture = np.kron(rng.uniform(60, 190, (height // 8, width // 4)), np.ones((8, 8)))
        slots = np.arange(0, seconds, 0.45)
        mine = rng.permutation(len(slots)) < len(slots) / 2
        beats, others = slots[mine], slots[~mine]
        self.beating = np.array([active(time, beats) for time in self.times])
        self.other = np.array([active(time, others) for time in self.times])
        self.frames = np.empty((len(self.times), height, width, 3), np.uint8)
        for index, time in enumerate(self.times):
            picture = np.roll(texture, -round(pan * time), axis=1)[:, :width].copy()
            for centre, moves in ((0.25, self.beating[index]), (0.75, self.other[index])):
                down, right = rng.integers(-6, 7, 2) * moves
                row, column = height // 2 + int(down), round(centre * width) + int(right)
                picture[row - 12 : row + 12, column - 12 : column + 12] = 235
            self.frames[index] = picture[..., None]
        clock = np.arange(round(seconds * RATE)) / RATE
        loud = np.array([active(time, beats) for time in clock[::160]]).repeat(160)[: len(clock)]
        sound = loud * np.sin(2 * np.pi * 440 * clock) * 0.3 + rng.normal(0, 0.003, len(clock))
        self.wave = sound.astype(np.float32)


def active(time: float, strikes: np.ndarray) -> bool:
    return bool(((time >= strikes - 1e-6) & (time < strikes + 0.3)).any())


def left_peaks(maps: np.ndarray) -> np.ndarray:
    """For each frame whether its hottest cell is in the left half."""
    peaks = maps.reshape(len(maps), -1).argmax(axis=1) % maps.shape[2]
    return peaks < maps.shape[2] // 2


@pytest.mark.parametrize(("fps", "seconds", "pan"), [(10, 10, 0.0), (10, 10, 25.0), (30, 6, 0.0), (12.5, 8, -40.0)])
def test_the_heat_is_on_what_moves_with_the_sound(fps: float, seconds: float, pan: float) -> None:
    scene = Scene(fps, seconds, pan)
    maps = motion_maps(scene.frames, scene.times, scene.wave, RATE)
    assert maps.shape == (len(scene.times), 14, 14)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() == 1
    assert left_peaks(maps)[scene.beating].mean() > 0.85
    # What moves while the sound is quiet is dimmer, though nothing else moves then.
    only_other = scene.other & ~scene.beating
    assert (
        maps[only_other][:, :, 7:].max(axis=(1, 2)).mean()
        < 0.75 * maps[scene.beating][:, :, :7].max(axis=(1, 2)).mean()
    )


def test_the_heat_follows_the_sound_not_the_place() -> None:
    scene = Scene(10, 10)
    mirrored = motion_maps(scene.frames[:, :, ::-1].copy(), scene.times, scene.wave, RATE)
    assert left_peaks(mirrored)[scene.beating].mean() < 0.15


def test_two_seconds_at_eight_frames_a_second() -> None:
    scenes = [Scene(8, 2, seed=seed) for seed in range(6)]
    hits = [left_peaks(motion_maps(one.frames, one.times, one.wave, RATE))[one.beating].mean() for one in scenes]
    assert np.mean(hits) > 0.8


def test_chunks_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Scene(10, 12)
    whole = motion_maps(one.frames, one.times, one.wave, RATE)
    monkeypatch.setattr("asgmcli.localize.motion._CHUNK", 17)
    assert np.allclose(motion_maps(one.frames, one.times, one.wave, RATE), whole, atol=1e-5)


def test_gray_frames_and_another_grid() -> None:
    one = Scene(10, 4)
    grey = motion_maps(one.frames[..., 0], one.times, one.wave, RATE, grid=(6, 8))
    assert grey.shape == (40, 6, 8)
    assert np.allclose(grey, motion_maps(one.frames, one.times, one.wave, RATE, grid=(6, 8)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("silence", "silent"),
        ("no sound", "silent"),
        ("hiss", "nearly silent"),
        ("still", "nothing moves"),
        ("one frame", "single frame"),
    ],
)
def test_nothing_to_say_is_a_uniform_map_and_a_reason(change: str, reason: str) -> None:
    one = Scene(10, 3)
    frames, times, wave = one.frames, one.times, one.wave
    if change == "silence":
        wave = np.zeros_like(wave)
    elif change == "hiss":  # at most -56 dB
        wave = wave * np.float32(0.005)
    elif change == "no sound":
        wave = wave[:0]
    elif change == "still":
        frames[:] = frames[:1]
    else:
        frames, times = frames[:1], times[:1]
    assert reason in (no_evidence(motion_of(frames), loudness(wave, RATE)) or "")
    maps = motion_maps(frames, times, wave, RATE)
    assert maps.shape[0] == len(frames)
    assert (maps == maps.flat[0]).all()
    assert maps.flat[0] > 0


def test_sound_shorter_than_the_picture() -> None:
    one = Scene(10, 8)
    maps = motion_maps(one.frames, one.times, one.wave[: 4 * RATE], RATE)
    assert np.isfinite(maps).all()
    assert left_peaks(maps)[:35][one.beating[:35]].mean() > 0.7


def test_a_tone_that_never_changes_gives_no_invalid_number() -> None:
    one = Scene(10, 4)
    maps = motion_maps(one.frames, one.times, np.full(4 * RATE, 0.5, np.float32), RATE)
    assert np.isfinite(maps).all()


def test_median_takes_off_what_changes_everywhere() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 200, (112, 112)).astype(np.float32)
    assert cell_motion(before, before + 30).max() < 1e-3
    after = before.copy()
    after[8:16, 16:24] += 40
    motion = cell_motion(before, after)
    assert motion[1, 2] == pytest.approx(40, abs=1e-3)
    assert motion.sum() == pytest.approx(40, abs=1e-3)


def test_gray_covers_the_whole_frame() -> None:
    frame = np.zeros((50, 70, 3), np.uint8)
    frame[25:, 35:] = 200
    small = gray(frame, (5, 7))
    assert small.shape == (40, 56)
    assert small[:19, :27].max() == 0
    assert small[21:, 29:].min() == 200


def test_loudness_by_hand_and_in_pieces() -> None:
    wave = np.concatenate([np.full(160, 0.5), np.tile([0.2, -0.2], 80), np.ones(40)]).astype(np.float32)
    assert np.allclose(loudness(wave, RATE), [0.5, 0.2])
    noise = np.random.default_rng(0).normal(size=32000).astype(np.float32)
    pieces = [loudness(noise[start : start + 8000], RATE) for start in range(0, 32000, 8000)]
    assert np.allclose(np.concatenate(pieces), loudness(noise, RATE))


def test_windowed_against_a_slow_reference() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.05, 0.3, 40))
    values = rng.normal(size=(40, 3))
    slow = [values[np.abs(times - time) <= 0.5].mean(axis=0) for time in times]
    assert np.allclose(_windowed(values, times, 1.0), slow)


def test_a_stretch_with_faint_motion_stays_dim() -> None:
    rng = np.random.default_rng(0)
    beat = (rng.random(200) < 0.3).astype(np.float32)
    motion = np.full((200, 3, 3), 0.01, np.float32)
    motion[:60, 1, 1] += 20 * beat[:60]
    motion[120:, 0, 0] += 0.02 * beat[120:]
    level = (0.001 + 0.3 * beat).repeat(10)[10:].astype(np.float32)
    maps = synchrony(motion, level, np.arange(200) / 10)
    moving = np.flatnonzero(beat[:60])
    assert (maps[moving].reshape(len(moving), -1).argmax(axis=1) == 4).all()
    assert maps[moving, 1, 1].min() > 0.9
    assert maps[120:].max() < 0.3


def test_no_evidence_says_nothing_about_a_good_clip() -> None:
    assert no_evidence(np.ones((3, 2, 2), np.float32), np.ones(10, np.float32)) is None
