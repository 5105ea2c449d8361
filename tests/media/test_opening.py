"""A file opened once for its description, its pictures and its sound: all are what they are with three openings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from asgmcli.errors import MediaError
from asgmcli.media import opening
from asgmcli.media.audio import read_audio
from asgmcli.media.opening import best_audio_stream, best_video_stream, one_opening, open_media, read_media
from asgmcli.media.probe import probe
from asgmcli.media.video import read_clip
from tests.media import media_files as mf

FRAMES = mf.moving_frames(30, 32, 48)
SOUND = mf.chirp(3.0)
FAST_START = {"movflags": "faststart"}
REAL = ("llp_barking_dog.mp4", "nasa_multistream.mp4", "flipping_pancake.mkv")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds with B-frames and three key frames."""
    path = tmp_path_factory.mktemp("opening") / "plain.mp4"
    return mf.encode(path, FRAMES, bframes=2, gop=12, options={"sc_threshold": "0"}, sound=SOUND, container=FAST_START)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The containers that are opened."""
    containers: list[Any] = []
    really = opening._open

    def noted(*given: Any) -> Any:
        containers.append(really(*given))
        return containers[-1]

    monkeypatch.setattr(opening, "_open", noted)
    return containers


def told(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except MediaError as error:
        return error.message


def look(path: Path, order: str) -> list[Any]:
    """What is read of a file, described first, then seen and heard or the other way round."""
    count = getattr(told(lambda: probe(path)), "frames", 1)
    works: dict[str, Callable[[], Any]] = {
        "describe": lambda: probe(path),
        "see": lambda: read_clip(path, sorted({0, count // 2, max(count - 1, 0)}), short_side=24),
        "hear": lambda: read_audio(path, 16_000, 0.2, 1.0),
        "hear late": lambda: read_audio(path, 8_000, 2.5, 0.4),
    }
    return [told(works[name]) for name in order.split(", ")]


def check(path: Path) -> None:
    for order in ("describe, see, hear", "hear late, see, describe, see"):
        apart = look(path, order)
        with one_opening():
            together = look(path, order)
        for one, other in zip(apart, together, strict=True):
            np.testing.assert_array_equal(other, one) if isinstance(one, np.ndarray) else None
            assert isinstance(one, np.ndarray) or other == one


def cut_off(source: Path, path: Path) -> Path:
    path.write_bytes(source.read_bytes()[:-700])
    return path


def its_end_hidden(source: Path, path: Path) -> Path:
    data = bytearray(source.read_bytes())
    at = data.index(b"elst") + 12  # behind version, flags and the number of edits: the first one's length, ms
    assert int.from_bytes(data[at : at + 4], "big") == 3000
    data[at : at + 4] = (1700).to_bytes(4, "big")
    path.write_bytes(data)
    assert probe(path).note.startswith("shows 17 of ")
    return path


def two_sounds(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream("libx264", rate=10)
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        sounds: list[Any] = [output.add_stream("aac", rate=16_000, layout=layout) for layout in ("mono", "stereo")]
        for pixels in FRAMES[:12]:
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream, channels in zip(sounds, (1, 2), strict=True):
            wave = np.stack([np.roll(SOUND[:16_000], 100 * channels)] * channels)
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=stream.layout.name)
            frame.sample_rate = 16_000
            output.mux(stream.encode(frame))
        for stream in (video, *sounds):
            output.mux(stream.encode(None))
    return path


MADE: dict[str, Callable[[Path, Path], Path]] = {
    "behind an edit list": lambda plain, path: mf.cut(plain, path / "cut.mp4", 1.33),
    "its end hidden": lambda plain, path: its_end_hidden(plain, path / "end.mp4"),
    "its key frame lost": lambda plain, path: mf.cut(plain, path / "lost.mp4", 1.2, first=14),
    "cut off": lambda plain, path: cut_off(plain, path / "short.mp4"),
    "in fragments": lambda _, path: mf.encode(
        path / "f.mp4", FRAMES, sound=SOUND, container={"movflags": "frag_keyframe+empty_moov"}
    ),
    "of varying rate": lambda _, path: mf.encode(
        path / "v.mp4", FRAMES[:8], times=[0, 0.1, 0.15, 0.6, 1.0, 1.1, 1.9, 2.0], sound=SOUND, sound_rate=44_100
    ),
    "its sound late": lambda _, path: mf.encode(path / "late.mp4", FRAMES[:12], sound=SOUND[:9000], sound_start=0.3),
    "turned and silent": lambda _, path: mf.encode(path / "turned.mov", FRAMES[:9], rotation=90),
    "with two sounds": lambda _, path: two_sounds(path / "two.mp4"),
    "sound alone": lambda _, path: mf.encode(path / "sound.m4a", None, sound=SOUND, sound_rate=44_100),
    "in Matroska": lambda _, path: mf.encode(path / "m.mkv", FRAMES[:12], sound=SOUND[:16_000]),
}


OPENED_ANEW = ("behind an edit list", "its end hidden", "its key frame lost", "in fragments", "in Matroska")


@pytest.mark.parametrize("kind", MADE)
def test_what_is_read_is_the_same(kind: str, plain: Path, tmp_path: Path) -> None:
    path = MADE[kind](plain, tmp_path)
    check(path)
    with open_media(path, believing=True) as container:
        assert opening._may_be_rewound(container) == (kind not in OPENED_ANEW)


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
def test_what_is_read_of_real_clips_is_the_same(name: str) -> None:
    path = mf.SHARED_CLIPS / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    check(path)


def test_an_ordinary_clip_is_opened_once_and_closed(plain: Path, opened: list[Any]) -> None:
    check(plain)
    opened.clear()
    with one_opening():
        look(plain, "see, hear")
        assert len(opened) == 1
        assert opened[0].streams.video  # open still
        look(plain, "see")  # a decoder is not used twice
        assert len(opened) == 2
        read_media(plain, lambda _: read_audio(plain))  # within another reading
    assert [told_closed(container) for container in opened] == [True] * len(opened)
    look(plain, "see, hear")
    assert len(opened) > 5


def told_closed(container: Any) -> bool:
    try:
        container.seek(0)
    except (AssertionError, ValueError):
        return True
    return False


def test_what_fails_with_the_open_file_is_tried_with_one_opened_anew(
    plain: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Any]
) -> None:
    apart, tries = look(plain, "see, hear"), []

    def fails(container: Any) -> int:
        tries.append(container)
        if len(tries) == 1:
            raise MediaError("only at first")
        return len(tries)

    with one_opening():
        probe(plain)
        assert read_media(plain, fails, best_audio_stream) == 2
        assert tries[0] is not tries[1]
    with one_opening():
        probe(plain)
        with pytest.raises(MediaError, match="always"):
            read_media(plain, lambda _: (_ for _ in ()).throw(MediaError("always")), best_video_stream)
    monkeypatch.setattr(opening._Kept, "rewind", lambda *_: (_ for _ in ()).throw(av.error.PermissionError(1, "no")))
    opened.clear()
    with one_opening():
        for one, other in zip(look(plain, "see, hear"), apart, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(opened) == 3
