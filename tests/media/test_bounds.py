"""What a media file claims is bounded before memory is taken; nothing but local files is opened."""

from __future__ import annotations

import re
import resource
import socket
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from asgmcli.errors import MediaError
from asgmcli.media import bounds
from asgmcli.media.audio import read_audio
from asgmcli.media.mp4 import claimed_samples
from asgmcli.media.probe import probe
from asgmcli.media.video import decode_video, read_clip
from asgmcli.workers import Failure, run_tasks
from tests.media import media_files as mf

MEMORY_GB = 0.5  # of a process that reads and decodes; without a file it takes 0.1


def refusal(path: str) -> tuple[str, float]:
    """What probing and decoding a file say, and the most memory this process has had."""
    sys.path.append(str(Path(__file__).parents[2]))
    messages = []
    for action in (probe, decode_video, read_audio):
        try:
            action(path)
            messages.append("read")
        except MediaError as error:
            messages.append(error.message.replace(path, "the file"))
    return "; ".join(messages), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def patched(path: Path, name: bytes, behind: int, value: bytes, which: int = 0) -> Path:
    """The file with `value` written `behind` bytes after the start of `name`."""
    content, at = bytearray(path.read_bytes()), -1
    for _ in range(which + 1):
        at = content.index(name, at + 1)
    content[at + behind : at + behind + len(value)] = value
    path.write_bytes(content)
    return path


def png(path: Path, width: int, height: int) -> Path:
    """A picture whose header, with a right checksum, claims a size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return path


def mp4(path: Path) -> Path:
    return mf.encode(path, mf.moving_frames(10, 64, 96), sound=mf.chirp(1.0), container={"movflags": "+faststart"})


def wav(path: Path, at: int, value: bytes) -> Path:
    mf.encode(path, None, sound=mf.chirp(0.5), sound_codec="pcm_s16le", sound_format="s16")
    return patched(path, b"fmt ", at, value)


def many_streams(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        for _ in range(bounds.MAX_STREAMS + 1):
            stream = output.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for stream in output.streams.video:
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            output.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def fragmented(path: Path) -> Path:
    mf.encode(path, mf.moving_frames(10, 64, 96), container={"movflags": "frag_keyframe+empty_moov"})
    return patched(path, b"trun", 4, struct.pack(">II", 1, 2**26))


def late_sound(path: Path) -> Path:
    """Sound that a stamp puts at 7 hours, while the header says 5 s."""
    mf.encode(path, mf.moving_frames(10, 64, 96), sound=mf.chirp(0.5), sound_start=7 * 3600.0)
    return patched(path, b"\x44\x89\x88", 3, struct.pack(">d", 5000.0))


def endless(path: Path) -> Path:
    """A header that says 11 days (in its milliseconds)."""
    mf.encode(path, mf.moving_frames(10, 64, 96))
    return patched(path, b"\x44\x89\x88", 3, struct.pack(">d", 1e9))


def huge_jpegs(path: Path) -> Path:
    """The container says 96 x 64, the pictures in it 60000 x 60000."""
    mf.encode(path, mf.moving_frames(3, 64, 96), codec="mjpeg")
    content = path.read_bytes().replace(struct.pack(">HH", 64, 96), struct.pack(">HH", 60000, 60000))
    path.write_bytes(content)
    return path


BOMBS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "samples.mp4": (lambda path: patched(mp4(path), b"stsz", 12, struct.pack(">I", 2**26)), "claims 671"),
    "fragment.mp4": (fragmented, "claims 67108864 samples in"),
    "frames.mp4": (lambda path: patched(mp4(path), b"stts", 12, struct.pack(">I", 2**30)), "frames, where a clip has"),
    "length.mkv": (endless, "seconds, where"),
    "picture.png": (lambda path: png(path, 60000, 60000), "60000|3.6e\\+09 pixels|Invalid|not a readable"),
    "pictures.avi": (huge_jpegs, "Invalid|broken"),
    "streams.mkv": (many_streams, "65 streams|not a readable"),
    "rate.wav": (lambda path: wav(path, 12, struct.pack("<I", 3_999_999_979)), "samples a second|not a readable"),
    "channels.wav": (lambda path: wav(path, 10, struct.pack("<H", 65535)), "broken sound"),
    "late.mkv": (late_sound, "sound at 25200 s"),
}


def test_claims_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    paths = {str(make(tmp_path / name)): words for name, (make, words) in BOMBS.items()}
    sparse = tmp_path / "sparse.mp4"
    with sparse.open("wb") as file:
        file.truncate(bounds.MAX_BYTES + 1)
    paths[str(sparse)] = "bytes, where a clip has"
    for path, answer in run_tasks(refusal, paths, 1, 120.0):
        assert not isinstance(answer, Failure), (path, answer)
        text, memory = answer
        assert re.search(paths[path], text), (path, text)
        assert memory < MEMORY_GB, path


def test_a_count_of_samples_is_read_from_any_index(tmp_path: Path) -> None:
    assert claimed_samples_of(mp4(tmp_path / "whole.mp4")) == 10 + 17  # frames, and packets of 1 s of aac at 16 kHz
    assert claimed_samples_of(fragmented(tmp_path / "fragment.mp4")) >= 2**26
    nested = b"".join(b"\0\0\x10\0moov" for _ in range(500))
    (tmp_path / "nested.mp4").write_bytes(nested)
    assert claimed_samples_of(tmp_path / "nested.mp4") == 0
    assert claimed_samples_of(mf.encode(tmp_path / "other.mkv", mf.moving_frames(3, 64, 96))) == 0


def claimed_samples_of(path: Path) -> int:
    with path.open("rb") as file:
        return claimed_samples(file)


def test_a_video_that_does_not_fit_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mf.encode(tmp_path / "a.mp4", mf.moving_frames(10, 64, 96))
    monkeypatch.setattr(bounds, "MAX_DECODED_BYTES", 10 * 64 * 96 * 3)
    assert len(decode_video(path)[0]) == 10
    monkeypatch.setattr(bounds, "MAX_DECODED_BYTES", 10 * 64 * 96 * 3 - 1)
    with pytest.raises(MediaError, match=r"set data\.keep_decoded to false"):
        decode_video(path)


def test_nothing_but_the_file_itself_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Playlists, scripts and names that are addresses lead to a server that sees no one come."""
    monkeypatch.chdir(tmp_path)
    mf.encode(tmp_path / "other.mp4", mf.moving_frames(3, 64, 96))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        leading = {
            "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
            "local.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n",
            "script.mp4": "ffconcat version 1.0\nfile other.mp4\n",
            "dash.mp4": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash"><BaseURL>{address}</BaseURL></MPD>',
            "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
            "concat:other.mp4|other.mp4": "no media",
        }
        for name, text in leading.items():
            (tmp_path / name).write_text(text)
        for name in (*leading, address, "concat:other.mp4", "/dev/zero", "-"):
            for action in (probe, decode_video, read_audio, lambda path: read_clip(path, [0], backend="decord")):
                with pytest.raises(MediaError, match=r"no such file|not a readable media file"):
                    action(name)
        with pytest.raises(BlockingIOError):
            server.accept()


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("profile", [None, PROFILE], ids=["plain", "with a colour profile"])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path, kind: str, profile: bytes | None) -> None:
    down, across = np.mgrid[0:40, 0:60]
    picture = Image.fromarray(np.stack([down * 6, across * 4, 255 - down * 3], -1).astype(np.uint8))
    for orientation in (1, 3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{kind}"
        picture.save(path, exif=exif, quality=95, icc_profile=profile)
        wanted = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
        frame = decode_video(path)[0][0].astype(int)
        assert frame.shape == wanted.shape
        assert np.abs(frame - wanted).mean() < 4
        assert (probe(path).width, probe(path).height) == (wanted.shape[1], wanted.shape[0])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_of_any_kind_may_have_a_colour_profile(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.png"
    Image.new(mode, (40, 30)).save(path, icc_profile=PROFILE)
    for _ in range(3):
        assert (probe(path).width, read_clip(path, [0]).shape) == (40, (1, 30, 40, 3))
