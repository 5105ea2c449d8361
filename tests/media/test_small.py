"""A small video of a clip: its length, size, sound, and the words over the picture at their time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.errors import MediaError
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import probe
from asgmcli.media.small import FPS, LINE, SHORT_SIDE, small_clip
from asgmcli.media.video import decode_video
from asgmcli.media.write import write_clip


def made(path: Path, fps: float, seconds: float, size: tuple[int, int] = (48, 64)) -> Path:
    """A clip that becomes brighter evenly, with a tone."""
    count = round(fps * seconds)
    frames = np.stack([np.full((*size, 3), round(250 * number / count), np.uint8) for number in range(count)])
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(16_000 * seconds)) / 16_000)
    write_clip(path, frames, fps, tone.astype(np.float32), crf=1)
    return path


@pytest.mark.parametrize(("fps", "seconds"), [(5.0, 2.0), (30.0, 2.0), (25.0, 11.0)])
def test_it_is_the_first_seconds_at_a_rate_of_its_own(tmp_path: Path, fps: float, seconds: float) -> None:
    source = made(tmp_path / "source.mp4", fps, seconds)
    middle = small_clip(source, tmp_path / "small.mp4", words=lambda time: ["above", f"{time:.1f}"])
    kept = min(8.0, seconds)
    found = probe(tmp_path / "small.mp4")
    assert found.fps == pytest.approx(FPS)
    assert found.duration == pytest.approx(kept, abs=0.25)
    assert (found.height, found.width) == (SHORT_SIDE + 2 * LINE, 240)
    assert middle.shape == (SHORT_SIDE + 2 * LINE, 240, 3)
    frames, times = decode_video(tmp_path / "small.mp4")
    shown = frames[:, -60:].mean(axis=(1, 2, 3))  # a frame is shown until the next one comes
    expected = np.floor(times * fps + 1e-6) / (fps * seconds) * 250
    assert np.abs(shown - expected).max() < 8
    sound = read_audio(tmp_path / "small.mp4", 16_000, 0.2, 1.0)
    assert np.abs(np.fft.rfft(sound)).argmax() == 440


def test_words_change_with_time_and_long_ones_are_cut(tmp_path: Path) -> None:
    source = made(tmp_path / "source.mp4", 12.0, 2.0)
    long = "a very long answer " * 9
    small_clip(source, tmp_path / "small.mp4", words=lambda time: [long if time < 1 else ""])
    frames, times = decode_video(tmp_path / "small.mp4")
    lit = frames[:, :LINE].max(axis=(1, 2, 3))
    assert (lit[times < 0.9] > 150).all()
    assert (lit[times > 1.1] < 60).all()
    assert frames[0, :LINE, -6:].max() < 60  # nothing runs out of the picture


def test_a_large_clip_shrinks_and_silence_has_no_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "large.mp4", np.zeros((3, 720, 1280, 3), np.uint8), 3.0, None)
    small_clip(tmp_path / "large.mp4", tmp_path / "small.mp4")
    found = probe(tmp_path / "small.mp4")
    assert (found.height, found.width, found.audio_rate) == (SHORT_SIDE, 320, 0)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError):
        small_clip(tmp_path / "broken.mp4", tmp_path / "other.mp4")
    assert not (tmp_path / "other.mp4").exists()
