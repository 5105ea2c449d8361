from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.errors import MediaError
from asgmcli.localize.clip_maps import RATE, ClipMaps, Sound, clip_loudness, every, motion_clip_maps, normalised
from asgmcli.localize.motion import loudness
from asgmcli.localize.regions import hottest_box
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import probe
from asgmcli.media.video import decode_video
from asgmcli.media.write import write_clip
from tests.localize.test_motion import motion_maps

SHARED = Path(__file__).parents[2].parent / "shared" / "clips"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    frames = np.kron(rng.integers(0, 255, (40, 7, 7, 1), np.uint8), np.ones((1, 16, 16, 3), np.uint8))
    wave = rng.normal(0, 0.1, 4 * RATE) * np.repeat(rng.random(40), RATE // 10)
    path = tmp_path_factory.mktemp("clip") / "noise.mp4"
    write_clip(path, frames, 10, wave.astype(np.float32), RATE)
    return path


def test_a_streamed_clip_equals_one_held_whole(clip: Path) -> None:
    frames, times = decode_video(clip)
    found = motion_clip_maps(clip, grid=(7, 7))
    assert np.allclose(
        found.maps, motion_maps(frames, times, read_audio(clip, RATE, 0.0, 4.0), RATE, grid=(7, 7)), atol=1e-4
    )
    assert np.array_equal(found.times, times)
    assert found.warning is None


def test_sound_in_pieces_is_the_sound_as_a_whole(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_audio(clip, RATE, 0.0, 8.0)
    expected = loudness(whole[: 4 * RATE], RATE)
    monkeypatch.setattr("asgmcli.localize.clip_maps._AUDIO_SPAN", 0.7)
    assert np.allclose(clip_loudness(Sound(clip), 4.0), expected, atol=1e-5)
    sound = Sound(clip)
    for start, count in ((0, 500), (9000, 20000), (8000, 100), (-300, 900), (63000, 3000)):
        padded = np.pad(whole, (1000, 0))[1000 + start :][:count]
        assert np.allclose(sound.samples(RATE, start, count), padded, atol=1e-5)


def test_maps_between_times() -> None:
    maps = np.zeros((2, 1, 1), np.float32)
    maps[1] = 1
    found = ClipMaps(None, "motion", maps, np.array([1.0, 3.0]), np.zeros(0, np.float32), None, np.array([0.5, 1]))  # type: ignore
    assert [found.sure(time, 0.75) for time in (0.0, 1.9, 2.0, 9.0)] == [False, False, True, True]
    assert [float(found.at(time)[0, 0]) for time in (0.0, 1.0, 1.5, 3.0, 9.0)] == [0.0, 0.0, 0.25, 1.0, 1.0]


def test_frames_are_taken_in_even_steps(clip: Path) -> None:
    info = probe(clip)
    numbered = [(index / 10, np.full((1, 1, 3), index, np.uint8)) for index in range(40)]
    for fps, step in ((10.0, 1), (4.0, 2), (3.0, 3), (50.0, 1), (0.1, 100)):
        assert [int(frame[0, 0, 0]) for _, frame in every(numbered, info, fps)] == list(range(0, 40, step))


def test_normalised_maps() -> None:
    maps = np.array([[[-1.0, 0.0], [1.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]]], np.float32)
    assert np.allclose(normalised(maps), [[[0, 0.25], [0.5, 1]], [[1, 1], [1, 1]]])


def test_sound_without_a_picture_is_refused(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "only.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="no picture"):
        motion_clip_maps(path)


def test_hottest_box_by_hand() -> None:
    heatmap = np.zeros((10, 20), np.float32)
    heatmap[2:5, 4:9] = 1
    heatmap[8, 18] = 0.9
    x0, y0, x1, y1 = hottest_box(heatmap) or (0, 0, 0, 0)
    # Half of the heat is reached half a cell from the border between hot and cold.
    assert (x0, y0, x1, y1) == pytest.approx((4 / 20, 2 / 10, 9 / 20, 5 / 10), abs=0.02)


def test_no_box_where_the_map_points_nowhere() -> None:
    assert hottest_box(np.ones((5, 5), np.float32)) is None
    faint = np.zeros((5, 5), np.float32)
    faint[2, 2] = 0.4
    assert hottest_box(faint) is None
    assert hottest_box(faint, 0.3) is not None


def test_the_heat_of_real_clips_is_where_a_person_sees_the_source() -> None:
    if not SHARED.is_dir():
        pytest.skip("the real clips are not here")
    # Where the barking dog's head and the pan are, read off the pictures: (seconds, left, top, right, bottom).
    seen = {
        "llp_barking_dog.mp4": [(7.1, 0.6, 0.2, 1.0, 0.7), (7.5, 0.5, 0.1, 0.9, 0.7), (8.3, 0.5, 0.1, 0.9, 0.7)],
        "flipping_pancake.mkv": [(1.9, 0.2, 0.6, 0.6, 1.0), (4.7, 0.2, 0.6, 0.6, 1.0), (5.8, 0.4, 0.4, 0.9, 0.9)],
    }
    for name, moments in seen.items():
        found = motion_clip_maps(SHARED / name)
        for time, left, top, right, bottom in moments:
            row, column = np.unravel_index(int(found.at(time).argmax()), (14, 14))
            assert left <= (column + 0.5) / 14 <= right, (name, time)
            assert top <= (row + 0.5) / 14 <= bottom, (name, time)
