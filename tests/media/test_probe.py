"""What a file holds, told without decoding it."""

from __future__ import annotations

import gc
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

import asgmcli.media.opening as opening_module
import asgmcli.media.probe as probe_module
from asgmcli.errors import MediaError
from asgmcli.media.mp4 import display_matrices
from asgmcli.media.opening import best_audio_stream, best_video_stream, open_media
from asgmcli.media.probe import probe
from asgmcli.media.video import decode_video, read_clip
from tests.media import media_files as mf

needs_clips = pytest.mark.skipif(not mf.SHARED_CLIPS.is_dir(), reason="the shared real clips are not here")


def test_a_video_with_late_sound(tmp_path: Path) -> None:
    path = mf.encode(
        tmp_path / "v.mp4",
        mf.moving_frames(30, 64, 96),
        sound=mf.chirp(2.0, 44_100),
        sound_rate=44_100,
        sound_start=0.5,
    )
    info = probe(path)
    assert (info.path, info.kind, info.fps, info.frames) == (path, "video", 10.0, 30)
    assert (info.width, info.height, info.rotation) == (96, 64, 0)
    assert (info.audio_rate, info.audio_channels, info.video_start) == (44_100, 1, 0.0)
    assert info.duration == pytest.approx(3.0)
    assert info.audio_start == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("rotation", "size"), [(90, (64, 96)), (180, (96, 64)), (270, (64, 96))])
def test_rotation_is_part_of_the_size(tmp_path: Path, rotation: int, size: tuple[int, int]) -> None:
    info = probe(mf.encode(tmp_path / "r.mp4", mf.moving_frames(2, 64, 96), rotation=rotation))
    assert ((info.width, info.height), info.rotation) == (size, rotation)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("movie", [0, 90])
def test_a_header_tells_the_turn_that_a_decoded_frame_would(
    tmp_path: Path, suffix: str, rotation: int, mirrored: bool, movie: int
) -> None:
    path = mf.encode(
        tmp_path / f"t{suffix}", mf.moving_frames(3, 64, 98), rotation=rotation, hflip=mirrored, sound=mf.chirp(0.3)
    )
    if movie:  # the whole file's matrix, as ffmpeg never writes it
        data = bytearray(path.read_bytes())
        at = data.index(b"mvhd") + 4 + 36
        data[at : at + 20] = np.array([0, 65536, 0, -65536, 0], dtype=">i4").tobytes()
        path.write_bytes(data)
    with open_media(path) as container:
        frame = next(container.decode(video=0))
        matrix = probe_module.display_matrix(frame)
        swapped = matrix is not None and probe_module.swaps_sides(matrix)
        wanted = (98, 64) if not swapped else (64, 98)
        turned = 0 if matrix is None else probe_module._degrees(matrix)
    info = probe(path)
    assert ((info.width, info.height), info.rotation) == (wanted, turned)
    assert movie or (info.rotation == rotation or mirrored)


def test_a_header_with_long_times_tells_the_turn_too(tmp_path: Path) -> None:
    boxes = []
    for name, matrix in ((b"mvhd", [65536, 0, 0, 0, 65536]), (b"tkhd", [0, 65536, 0, -65536, 0])):
        before = 48 if name == b"mvhd" else 52
        content = bytearray(b"\1" + bytes(before + 35))
        content[20:24] = (7).to_bytes(4, "big")
        content[before : before + 20] = np.array(matrix, dtype=">i4").tobytes()
        boxes.append((8 + len(content)).to_bytes(4, "big") + name + content)
    track = (8 + len(boxes[1])).to_bytes(4, "big") + b"trak" + boxes[1]
    path = tmp_path / "v1.mp4"
    path.write_bytes(b"\0\0\0\x08ftyp" + (8 + len(boxes[0] + track)).to_bytes(4, "big") + b"moov" + boxes[0] + track)
    with path.open("rb") as file:
        found = display_matrices(file)
    assert list(found) == [7]
    assert found[7].tolist() == [[0, 1], [-1, 0]]


def test_an_mp4_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mf.encode(tmp_path / "v.mp4", mf.moving_frames(3), sound=mf.chirp(0.3))
    monkeypatch.setattr(probe_module, "first_frame", None)
    assert probe(path).width == 128
    with pytest.raises(TypeError):
        probe(mf.encode(tmp_path / "v.mkv", mf.moving_frames(3)))


def test_no_sound_only_sound_and_a_picture(tmp_path: Path) -> None:
    silent = probe(mf.encode(tmp_path / "v.mkv", mf.moving_frames(20)))
    assert (silent.kind, silent.audio_rate, silent.audio_channels) == ("video", 0, 0)
    assert (silent.frames, silent.duration) == (20, pytest.approx(2.0))  # Matroska does not count; 2 s at 10 fps
    sound = probe(mf.encode(tmp_path / "a.wav", None, sound=mf.chirp(1.5), sound_codec="pcm_s16le", sound_format="s16"))
    assert (sound.kind, sound.frames, sound.width, sound.fps) == ("audio", 0, 0, 0.0)
    assert (sound.duration, sound.audio_rate) == (pytest.approx(1.5), 16_000)
    with av.open(str(tmp_path / "p.png"), "w", format="image2") as output:
        stream = output.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = 40, 30, "rgb24"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((30, 40, 3), np.uint8))))
        output.mux(stream.encode(None))
    picture = probe(tmp_path / "p.png")
    assert (picture.kind, picture.frames, picture.duration) == ("image", 1, 0.0)
    assert (picture.width, picture.height) == (40, 30)


@pytest.mark.parametrize("name", ["111.jpg", "img_%03d.jpg", "a.jpeg", "007.png", "b*.png", "5.bmp"])
def test_a_picture_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    codec, pixels = {"jpg": ("mjpeg", "yuvj420p"), "jpeg": ("mjpeg", "yuvj420p"), "png": ("png", "rgb24")}.get(
        name.rpartition(".")[2], ("bmp", "bgr24")
    )
    with av.open(str(tmp_path / "picture"), "w", format="image2pipe") as output:
        stream = output.add_stream(codec)
        stream.width, stream.height, stream.pix_fmt = 40, 30, pixels
        output.mux(stream.encode(av.VideoFrame.from_ndarray(mf.moving_frames(1, 30, 40)[0])))
        output.mux(stream.encode(None))
    path = (tmp_path / "picture").rename(tmp_path / name)
    info = probe(path)
    assert (info.kind, info.frames, info.width, info.height) == ("image", 1, 40, 30)
    frames, times = decode_video(path)
    assert (frames.shape, times.tolist()) == ((1, 30, 40, 3), [0.0])
    np.testing.assert_array_equal(read_clip(path, [0, 0]), frames[[0, 0]])
    if codec != "mjpeg":
        np.testing.assert_array_equal(frames, mf.moving_frames(1, 30, 40))


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    sound = mf.encode(
        tmp_path / "a.mp3", None, sound=mf.chirp(1.0), sound_codec="libmp3lame", container={"id3v2_version": "0"}
    )
    with av.open(str(tmp_path / "p.png"), "w", format="image2") as output:
        stream = output.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = 40, 30, "rgb24"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((30, 40, 3), np.uint8))))
        output.mux(stream.encode(None))
    body = b"\0image/png\0\x03\0" + (tmp_path / "p.png").read_bytes()  # ID3v2.3, frame APIC, type 3: front cover
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    path = tmp_path / "covered.mp3"
    path.write_bytes(b"ID3\x03\0\0" + size + frame + sound.read_bytes())
    with open_media(path) as container:
        assert len(container.streams.video) == 1
        assert best_video_stream(container) is None
    assert probe(path).kind == "audio"


@needs_clips
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg command is not installed")
def test_the_stream_read_is_the_one_ffmpeg_takes() -> None:
    path = mf.SHARED_CLIPS / "nasa_multistream.mp4"
    told = subprocess.run(
        ["ffmpeg", "-hide_banner", "-i", str(path), "-t", "0.1", "-f", "null", "-"], capture_output=True, text=True
    ).stderr
    with open_media(path) as container:
        video, audio = best_video_stream(container), best_audio_stream(container)
        assert f"Stream #0:{video.index} -> #0:0" in told
        assert f"Stream #0:{audio.index} -> #0:1" in told
    info = probe(path)
    assert (info.width, info.height, info.frames, info.audio_rate) == (480, 270, 390, 8000)
    assert info.fps == pytest.approx(30_000 / 1001)


@needs_clips
def test_real_clips() -> None:
    dog = probe(mf.SHARED_CLIPS / "llp_barking_dog.mp4")
    assert (dog.frames, dog.width, dog.height, dog.audio_rate, dog.audio_channels) == (300, 320, 240, 44_100, 2)
    pancake = probe(mf.SHARED_CLIPS / "flipping_pancake.mkv")
    assert (pancake.frames, pancake.fps, pancake.audio_rate) == (310, 30.0, 48_000)


def test_probing_does_not_decode_beyond_the_first_frame(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "v.mp4", mf.moving_frames(60), container={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half:] = bytes(len(data) - half)
    path.write_bytes(bytes(data))
    assert probe(path).frames == 60
    with pytest.raises(MediaError):
        decode_video(path)


@pytest.mark.parametrize("name", ["zero.mp4", "text.mp4", "subtitles.mp4"])
def test_what_is_no_media_is_refused(tmp_path: Path, name: str) -> None:
    contents = {"zero.mp4": "", "text.mp4": "words " * 99, "subtitles.mp4": "1\n00:00:01,000 --> 00:00:02,000\nhi\n"}
    path = tmp_path / name
    path.write_text(contents[name])
    with pytest.raises(MediaError, match=name):
        probe(path)


def test_addresses_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("opened"))
    for path in ("http://127.0.0.1:9/clip.mp4", "concat:a.mp4|b.mp4", tmp_path / "none.mp4"):
        with pytest.raises(MediaError, match="no such file"):
            probe(path)


def test_a_video_without_any_frame_is_refused(tmp_path: Path) -> None:
    whole = mf.encode(tmp_path / "w.mp4", mf.moving_frames(20), container={"movflags": "+faststart"})
    data = whole.read_bytes()
    path = tmp_path / "headless.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 40])
    with pytest.raises(MediaError, match=r"headless\.mp4"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "options", "believed"),
    [
        ("bframes.mp4", {"bframes": 3, "gop": 16}, True),
        ("cache.mp4", {"bframes": 0, "gop": 8}, True),
        ("mpeg4.mp4", {"codec": "mpeg4", "bframes": 2}, True),
        ("turned.mov", {"rotation": 90}, True),
        ("sound.mp4", {"sound": mf.chirp(4.0), "sound_start": 0.3}, True),
        ("late.mp4", {"sound": mf.chirp(4.0), "sound_start": 1.5}, False),
        ("fragments.mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}, "gop": 12}, False),
        ("other.mkv", {"sound": mf.chirp(4.0)}, False),
    ],
)
def test_an_mp4s_header_is_believed_where_it_tells_what_looking_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, object], believed: bool
) -> None:
    path = mf.encode(tmp_path / name, mf.moving_frames(40), **options)

    def told(container: object) -> list[object]:
        facts: list[object] = [container.duration, container.start_time]
        for stream in container.streams:
            context = stream.codec_context
            facts += [stream.frames, stream.duration, stream.start_time, stream.time_base, context.name]
            facts += [(entry.timestamp, entry.size, entry.is_keyframe) for entry in stream.index_entries]
            if stream.type == "video":
                facts += [stream.average_rate, stream.guessed_rate, context.width, context.height]
            else:
                facts += [context.sample_rate, context.layout.name, context.frame_size, context.format.name]
        return facts

    used: list[dict[str, str]] = []
    really = opening_module._open
    monkeypatch.setattr(opening_module, "_open", lambda *given: [used.append(given[2]), really(*given)][1])
    with open_media(path, believing=True) as container:
        quick = told(container)
    assert (used[-1] == opening_module.BELIEVING) == believed
    with open_media(path) as container:
        assert quick == told(container)
    assert used[-1] == {}


@pytest.mark.long
def test_frames_are_freed_as_soon_as_they_are_read(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "turned.mp4", mf.moving_frames(12), rotation=90)

    def frames() -> int:
        return sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = frames()
        assert probe(path).rotation == 90
        read_clip(path, [0, 5])
        assert frames() == before
    finally:
        gc.enable()
