"""Written clips read back: frames, rate, sound in step, whole or not at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from asgmcli.errors import MediaError
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import probe
from asgmcli.media.video import decode_video
from asgmcli.media.write import write_clip
from tests.media import media_files as mf


def pictures(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [int(frame.pict_type) for frame in container.decode(video=0)]


def test_frames_and_sound_come_back_in_step(tmp_path: Path) -> None:
    frames, sound = mf.moving_frames(24), mf.chirp(3.0)
    path = tmp_path / "clip.mp4"
    write_clip(path, frames, 8, sound, crf=10)
    back, times = decode_video(path)
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).mean() < 16  # colour is stored at half size; the square is noise
    np.testing.assert_allclose(times, np.arange(24) / 8, atol=1e-4)
    heard = read_audio(path, 16_000, 0.0, 3.0)
    assert mf.lag(sound, heard) == 0
    assert np.corrcoef(sound, heard)[0, 1] > 0.98
    info = probe(path)
    assert (info.fps, info.frames, info.audio_rate, info.audio_channels) == (8.0, 24, 16_000, 1)
    assert info.duration == pytest.approx(3.0)


def test_grey_levels_are_exact_to_a_level(tmp_path: Path) -> None:
    frames = np.repeat(np.arange(0, 256, 17, dtype=np.uint8), 64 * 64 * 3).reshape(16, 64, 64, 3)
    write_clip(tmp_path / "grey.mp4", frames, 10, crf=1)
    assert np.abs(decode_video(tmp_path / "grey.mp4")[0].astype(int) - frames).max() <= 2


@pytest.mark.parametrize("size", [(97, 95), (96, 95), (97, 96), (2, 2), (1, 1)])
def test_an_odd_side_gets_its_last_line_twice(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = mf.moving_frames(3, *size)
    write_clip(tmp_path / "odd.mp4", frames, 10, crf=1)
    back, _ = decode_video(tmp_path / "odd.mp4")
    height, width = size
    assert back.shape == (3, height + height % 2, width + width % 2, 3)
    if height % 2:
        assert np.abs(back[:, -1].astype(int) - back[:, -2]).mean() < 12


def test_an_iterator_gives_the_same_bytes_and_is_taken_one_by_one(tmp_path: Path) -> None:
    frames, sound = mf.moving_frames(20), mf.chirp(2.0)
    write_clip(tmp_path / "array.mp4", frames, Fraction(10), sound)
    write_clip(tmp_path / "iterator.mp4", (frame for frame in frames), 10.0, sound)
    write_clip(tmp_path / "again.mp4", frames, 10, sound)
    data = (tmp_path / "array.mp4").read_bytes()
    assert data == (tmp_path / "iterator.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_every_run_gives_the_same_bytes(tmp_path: Path) -> None:
    frames = mf.moving_frames(20, 96, 96)
    written = set()
    for _ in range(25):
        write_clip(tmp_path / "clip.mp4", frames, 10, bframes=False)
        written.add((tmp_path / "clip.mp4").read_bytes())
    assert len(written) == 1


def test_groups_and_b_frames_as_asked(tmp_path: Path) -> None:
    frames = mf.moving_frames(24)
    write_clip(tmp_path / "cache.mp4", frames, 10, gop=8, bframes=False, tune="fastdecode")
    kinds = pictures(tmp_path / "cache.mp4")
    assert [place for place, kind in enumerate(kinds) if kind == 1] == [0, 8, 16]
    assert 3 not in kinds
    write_clip(tmp_path / "b.mp4", frames, 10)
    assert 3 in pictures(tmp_path / "b.mp4")
    write_clip(tmp_path / "coarse.mp4", frames, 10, crf=45)
    assert (tmp_path / "coarse.mp4").stat().st_size < (tmp_path / "b.mp4").stat().st_size / 2


def test_a_quick_sound_is_as_close(tmp_path: Path) -> None:
    sound = mf.chirp(2.0)
    heard = []
    for quick in (False, True):
        write_clip(tmp_path / f"{quick}.mp4", mf.moving_frames(16), 8, sound, quick_sound=quick)
        heard.append(read_audio(tmp_path / f"{quick}.mp4", 16_000, 0.0, 2.0))
    assert not np.array_equal(*heard)
    assert all(np.corrcoef(sound, one)[0, 1] > 0.98 for one in heard)


def test_film_rates_are_kept(tmp_path: Path) -> None:
    write_clip(tmp_path / "ntsc.mp4", mf.moving_frames(10), 29.97002997)
    with av.open(str(tmp_path / "ntsc.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(30_000, 1001)


def test_sound_longer_and_shorter_than_the_pictures(tmp_path: Path) -> None:
    for seconds in (0.01, 0.5, 4.0):
        sound = mf.chirp(seconds)
        write_clip(tmp_path / "clip.mp4", mf.moving_frames(10), 10, sound)
        assert len(decode_video(tmp_path / "clip.mp4")[0]) == 10
        heard = read_audio(tmp_path / "clip.mp4")
        assert len(sound) <= len(heard) < len(sound) + 2048


def test_nothing_is_left_and_nothing_lost_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    frames = mf.moving_frames(6)
    write_clip(path, frames, 10)
    good = path.read_bytes()

    def failing() -> object:
        yield from frames[:3]
        raise RuntimeError("the generator broke")

    with pytest.raises(RuntimeError, match="generator"):
        write_clip(path, failing(), 10)
    with pytest.raises(ValueError, match="frame 1 is"):
        write_clip(path, iter([frames[0], frames[1][:40]]), 10)
    with pytest.raises(MediaError, match="cannot be written"):
        write_clip(path, frames, 10, preset="no such preset")
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
    write_clip(path, frames[:2], 10)
    assert len(decode_video(path)[0]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8)}, "at least one frame"),
        ({"frames": np.zeros((2, 8, 8, 3), np.float32)}, "uint8"),
        ({"frames": np.zeros((2, 8, 8), np.uint8)}, "uint8"),
        ({"fps": 0}, "fps"),
        ({"audio": np.zeros((2, 100), np.float32)}, "audio must be"),
        ({"audio": np.zeros(100, np.int16)}, "audio must be"),
        ({"audio": np.full(100, np.nan, np.float32)}, "not finite"),
        ({"audio": np.zeros(100, np.float32), "rate": 12_345}, "aac knows no rate"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    arguments = {"frames": mf.moving_frames(2), "fps": 10} | changes
    with pytest.raises(ValueError, match=message):
        write_clip(tmp_path / "clip.mp4", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        write_clip(tmp_path / "none" / "clip.mp4", mf.moving_frames(2), 10)
