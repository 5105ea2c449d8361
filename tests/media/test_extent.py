"""Clips cut without re-encoding: which frames are shown, and where the sound lies against them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

import asgmcli.media.length as length_module
from asgmcli.media.audio import read_audio
from asgmcli.media.extent import ShownFrames
from asgmcli.media.probe import probe
from asgmcli.media.video import decode_video, read_clip
from tests.media import media_files as mf

FPS = 25
FRAMES = 150
SOUND = mf.chirp(FRAMES / FPS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds with a key frame every 1.6 s, B-frames, and sound."""
    path = tmp_path_factory.mktemp("source") / "source.mp4"
    frames = mf.moving_frames(FRAMES, 48, 64)
    return mf.encode(path, frames, fps=FPS, gop=40, bframes=2, options={"sc_threshold": "0"}, sound=SOUND)


@pytest.fixture(scope="module")
def originals(source: Path) -> np.ndarray:
    return mf.plain_decode(source)


def check_reading(path: Path, originals: np.ndarray, first: int) -> None:
    """Every frame is that of a plain decode of the file, and the source's from `first` on, with the sound it had."""
    plain = mf.plain_decode(path)
    info = probe(path)
    assert info.frames == len(plain) == len(originals) - first
    np.testing.assert_array_equal(plain, originals[first:])
    last = info.frames - 1
    np.testing.assert_array_equal(read_clip(path, [last])[0], originals[-1])
    np.testing.assert_array_equal(read_clip(path, [last // 2, 0]), originals[[first + last // 2, first]])
    assert info.duration == pytest.approx(info.frames / FPS, abs=0.002)
    for frame in (0, last // 2):
        heard = read_audio(path, 16_000, frame / FPS, 0.4)
        begin = round((first + frame) / FPS * 16_000)
        assert abs(mf.lag(SOUND[begin : begin + 6400], heard)) <= 16, "more than a millisecond beside the picture"


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize(("seconds", "first"), [(2.4, 60), (2.41, 61), (2.43, 61), (0.5, 13)])
def test_an_edit_list_hides_what_precedes_the_cut(
    tmp_path: Path, source: Path, originals: np.ndarray, suffix: str, seconds: float, first: int
) -> None:
    path = mf.cut(source, tmp_path / f"cut.{suffix}", seconds)
    with av.open(str(path)) as container:
        hidden = [packet.is_discard for packet in container.demux(video=0) if packet.size]
    assert hidden[0], "the first key frame is not hidden"
    assert sum(hidden) == first % 40
    check_reading(path, originals, first)
    assert probe(path).note == f"shows {FRAMES - first} of {len(hidden)} stored frames: an edit list hides {first % 40}"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_what_hangs_on_a_lost_key_frame_is_not_counted(
    tmp_path: Path, source: Path, originals: np.ndarray, suffix: str
) -> None:
    path = mf.cut(source, tmp_path / f"lost.{suffix}", 2.4, first=61)
    check_reading(path, originals, 80)
    note = probe(path).note
    assert note.startswith(f"shows 70 of {FRAMES - 61} stored frames")
    assert "precede the first picture that can be decoded" in note


@pytest.mark.parametrize("bframes", [0, 2])
def test_the_other_backend_reads_behind_an_edit_list_too(tmp_path: Path, bframes: int) -> None:
    source = mf.encode(tmp_path / "source.mp4", mf.moving_frames(40), gop=40, bframes=bframes)
    path = mf.cut(source, tmp_path / "cut.mp4", 1.3)
    plain = mf.plain_decode(path)
    assert len(plain) == 27
    np.testing.assert_array_equal(read_clip(path, [0, 26], backend="decord"), plain[[0, 26]])


def test_a_cut_at_a_key_frame_hides_nothing(tmp_path: Path, source: Path, originals: np.ndarray) -> None:
    path = mf.cut(source, tmp_path / "cut.mp4", 1.6)
    check_reading(path, originals, 40)
    assert probe(path).note == ""


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg command is not installed; PyAV makes the same")
@pytest.mark.parametrize(
    ("before", "after", "first"),
    [(["-ss", "2.41"], [], 61), ([], ["-ss", "2.41"], 80), ([], ["-ss", "2.41", "-copyinkf"], 80)],
)
def test_what_the_ffmpeg_command_cuts(
    tmp_path: Path, source: Path, originals: np.ndarray, before: list[str], after: list[str], first: int
) -> None:
    path = tmp_path / "cut.mp4"
    line = ["ffmpeg", "-v", "error", *before, "-i", str(source), *after, "-c", "copy", str(path)]
    subprocess.run(line, check=True)
    assert probe(path).frames == FRAMES - first
    check_reading(path, originals, first)


def test_an_ordinary_mp4_is_not_counted(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = mf.cut(source, tmp_path / "cut.mp4", 2.41)
    monkeypatch.setattr(length_module, "count_shown", lambda *_: pytest.fail("counted"))
    info = probe(source)
    assert (info.frames, info.note, info.cut, info.video_start) == (FRAMES, "", "", 0.0)
    with pytest.raises(pytest.fail.Exception, match="counted"):
        probe(cut)


def test_frames_of_varying_length_are_counted_where_no_header_does(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.12, 0.16, *(0.2 + 0.4 * number for number in range(10))]
    path = mf.encode(tmp_path / "vfr.mkv", mf.moving_frames(15), fps=FPS, times=times, bframes=0)
    info = probe(path)
    assert info.frames == len(mf.plain_decode(path)) == 15
    assert info.fps == pytest.approx(15 / info.duration)


def test_pictures_that_vp8_hides_are_not_counted(tmp_path: Path) -> None:
    whole = mf.encode(tmp_path / "v.webm", mf.moving_frames(20), codec="libvpx", options={"lag-in-frames": "0"})
    path = tmp_path / "hidden.webm"
    with av.open(str(whole)) as given, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        for place, packet in enumerate(packet for packet in given.demux(video=0) if packet.size):
            data = bytearray(bytes(packet))
            data[0] &= 0xFF if place not in {5, 9} else 0xEF  # show_frame
            changed = av.Packet(bytes(data))
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.is_keyframe, changed.stream = packet.is_keyframe, stream
            output.mux(changed)
    assert len(mf.plain_decode(path)) == 18
    assert probe(path).frames == 18


@pytest.mark.parametrize("sound", [None, mf.chirp(3.0, 48_000)])
def test_a_live_recording_has_its_true_length(tmp_path: Path, sound: np.ndarray | None) -> None:
    frames = mf.moving_frames(45)
    path = mf.live_webm(tmp_path / "live.webm", frames, fps=15, sound=sound)
    with av.open(str(path)) as container:
        assert container.duration is None
        assert container.streams.video[0].frames == 0
    info = probe(path)
    assert (info.frames, info.note, info.cut) == (45, "", "")
    assert info.duration == pytest.approx(3.0, abs=0.01)
    assert info.fps == pytest.approx(15.0, rel=0.01)
    decoded, times = decode_video(path)
    assert len(decoded) == 45
    assert times[-1] == pytest.approx(44 / 15, abs=0.002)
    np.testing.assert_array_equal(read_clip(path, [44])[0], decoded[44])


def test_a_live_recording_of_sound_has_its_true_length(tmp_path: Path) -> None:
    path = mf.encode(
        tmp_path / "live.webm",
        None,
        sound=mf.chirp(2.0, 48_000),
        sound_rate=48_000,
        sound_codec="libopus",
        container={"live": "1"},
    )
    with av.open(str(path)) as container:
        assert container.duration is None
    assert probe(path).duration == pytest.approx(2.0, abs=0.03)


def test_notes() -> None:
    assert ShownFrames(5, 5, 0, 0, 0, 5, True, 0).note == ""
    assert ShownFrames(5, 9, 3, 1, 0, 5, True, 0).note == (
        "shows 5 of 9 stored frames: an edit list hides 3, 1 precede the first picture that can be decoded"
    )
