"""Every frame as ffmpeg and a plain full decode give it, whatever the container, codec and order of the frames."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from asgmcli.errors import MediaError
from asgmcli.media.groups import is_stamped
from asgmcli.media.opening import best_video_stream, open_media
from asgmcli.media.video import decode_video, fitted_size, iterate_frames, read_clip
from tests.media import media_files as mf

COUNT = 48
KINDS = {
    "bframes.mp4": {"bframes": 3, "gop": 16},
    "cache.mp4": {"bframes": 0, "gop": 8},
    "matroska.mkv": {"bframes": 3},
    "open_group.mp4": {"bframes": 3, "gop": 12, "options": {"x264-params": "open-gop=1:scenecut=0"}},
    "intra_refresh.mkv": {"bframes": 0, "gop": 12, "options": {"x264-params": "intra-refresh=1"}},
    "xvid.avi": {"codec": "mpeg4", "tag": "xvid"},
    "xvid_bframes.avi": {"codec": "mpeg4", "tag": "xvid", "bframes": 2},
    "mpeg4.mp4": {"codec": "mpeg4", "bframes": 2, "gop": 12},
    "fragments.mp4": {"bframes": 2, "container": {"movflags": "frag_keyframe+empty_moov"}, "gop": 12},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 12, "options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp8.webm": {"codec": "libvpx", "gop": 12, "options": {"deadline": "realtime", "auto-alt-ref": "1"}},
    "transport.ts": {"bframes": 3, "gop": 16},
    "motion_jpeg.avi": {"codec": "mjpeg"},
}
SHARED = (
    "llp_barking_dog.mp4",
    pytest.param("flipping_pancake.mkv", marks=pytest.mark.long),
    pytest.param("nasa_multistream.mp4", marks=pytest.mark.long),
)

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg command is not installed")
needs_clips = pytest.mark.skipif(not mf.SHARED_CLIPS.is_dir(), reason="the shared real clips are not here")


@pytest.fixture(scope="module", params=KINDS)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / request.param
    return mf.encode(path, mf.moving_frames(COUNT), **KINDS[request.param])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mf.encode(tmp_path_factory.mktemp("plain") / "clip.mp4", mf.moving_frames(COUNT), bframes=3, gop=16)


def ffmpeg_frames(path: Path, shape: tuple[int, ...], *options: str) -> np.ndarray:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough", *options]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, *shape[1:])


def test_any_indices_of_every_kind_equal_a_plain_decode(clip: Path) -> None:
    reference = mf.plain_decode(clip)
    assert len(reference) == COUNT
    rng = np.random.default_rng(0)
    choices = [[0], [COUNT - 1], [5, 5, 3], list(range(0, 48, 8)), list(range(COUNT))]
    choices += [rng.integers(0, COUNT, 5).tolist() for _ in range(8)]
    for indices in choices:
        np.testing.assert_array_equal(read_clip(clip, indices), reference[indices], err_msg=str(indices))


def test_full_decode_equals_a_plain_decode(clip: Path) -> None:
    frames, times = decode_video(clip)
    np.testing.assert_array_equal(frames, mf.plain_decode(clip))
    np.testing.assert_allclose(times, np.arange(COUNT) / 10, atol=1e-3)


@needs_ffmpeg
def test_full_decode_equals_ffmpeg(clip: Path) -> None:
    frames, _ = decode_video(clip)
    reference = ffmpeg_frames(clip, frames.shape)
    if "mpeg4" in KINDS[clip.name].values():
        # MPEG-4's inverse transform is not bit-exact: it differs by a level between versions of FFmpeg
        assert np.abs(frames.astype(int) - reference).max() <= 2
    else:
        np.testing.assert_array_equal(frames, reference)


def test_decord_gives_the_same_frames(clip: Path) -> None:
    pytest.importorskip("decord")
    if clip.suffix == ".ts":
        with pytest.raises(MediaError, match="decord misses frames"):
            read_clip(clip, [0], backend="decord")
        return
    reference = mf.plain_decode(clip)
    for indices in ([0, 8, 16, 24], [31, 2, 47, 31]):
        np.testing.assert_array_equal(read_clip(clip, indices, backend="decord"), reference[indices])


@needs_clips
@needs_ffmpeg
@pytest.mark.parametrize("name", SHARED)
def test_real_clips_equal_ffmpeg_frame_by_frame(name: str) -> None:
    path = mf.SHARED_CLIPS / name
    frames, times = decode_video(path)
    reference = ffmpeg_frames(path, frames.shape)
    np.testing.assert_array_equal(frames, reference)
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    for start in (0, 100, len(frames) - 57):
        indices = list(range(start, start + 57, 8))
        np.testing.assert_array_equal(read_clip(path, indices), reference[indices])
    np.testing.assert_array_equal(read_clip(path, [290, 7, 7, 151], backend="decord"), reference[[290, 7, 7, 151]])


@needs_ffmpeg
def test_resizing_is_ffmpegs_bicubic(tmp_path: Path) -> None:
    # ffv1 does not say where colour samples lie, so both place them alike; h264 here says "left", which only ffmpeg
    # obeys: a quarter pixel, nothing where the picture is grey
    centred = mf.encode(tmp_path / "centred.avi", mf.moving_frames(4), codec="ffv1")
    scale = ("-vf", "scale=64:48:flags=bicubic")
    small = read_clip(centred, list(range(4)), short_side=48)
    np.testing.assert_array_equal(small, ffmpeg_frames(centred, small.shape, *scale))
    grey = mf.encode(tmp_path / "grey.mp4", np.repeat(mf.moving_frames(4)[..., :1], 3, axis=3))
    small = read_clip(grey, list(range(4)), short_side=48)
    np.testing.assert_array_equal(small, ffmpeg_frames(grey, small.shape, *scale))


def test_avi_is_never_trusted_to_know_its_time_stamps(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "b.avi", mf.moving_frames(12), codec="mpeg4", tag="xvid", bframes=2)
    with open_media(path) as container:
        stream = best_video_stream(container)
        assert not is_stamped(container, stream)
        assert stream.codec_context.codec_tag == "xvid"


def test_variable_frame_rate_keeps_order_and_times(tmp_path: Path) -> None:
    frames = mf.moving_frames(20)
    times = np.cumsum([0.0, *np.random.default_rng(1).uniform(0.02, 0.4, 19)]).round(3)
    for name in ("vfr.mp4", "vfr.mkv"):
        path = mf.encode(tmp_path / name, frames, times=times.tolist(), bframes=2, gop=8)
        reference = mf.plain_decode(path)
        decoded, stamps = decode_video(path)
        np.testing.assert_array_equal(decoded, reference)
        np.testing.assert_allclose(stamps, times, atol=1.1e-3)
        np.testing.assert_array_equal(read_clip(path, [17, 3, 9]), reference[[17, 3, 9]])


@needs_ffmpeg
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_display_matrix_turns_and_mirrors_as_ffmpeg_does(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = mf.encode(tmp_path / "turned.mp4", mf.moving_frames(4, 64, 96), rotation=rotation, hflip=mirrored)
    frames, _ = decode_video(path)
    assert frames.shape[1:3] == ((96, 64) if rotation % 180 else (64, 96))
    np.testing.assert_array_equal(frames, ffmpeg_frames(path, frames.shape))
    np.testing.assert_array_equal(read_clip(path, [3, 1]), frames[[3, 1]])
    assert min(read_clip(path, [0], short_side=32).shape[1:3]) == 32
    pytest.importorskip("decord")
    if mirrored:
        with pytest.raises(MediaError, match="mirror"):
            read_clip(path, [0], backend="decord")
    else:
        np.testing.assert_array_equal(read_clip(path, [3, 1], backend="decord"), frames[[3, 1]])


def test_a_quarter_turn_by_hand(tmp_path: Path) -> None:
    picture = np.zeros((3, 64, 96, 3), np.uint8)
    picture[:, :16, 80:] = 255  # a white square, top right as stored
    path = mf.encode(tmp_path / "turned.mp4", picture, rotation=90, options={"crf": "1"})
    upright = read_clip(path, [1])[0]
    assert upright[:16, :16].min() > 230  # turned anticlockwise: top left
    assert upright[24:].max() < 25


def test_odd_sides_and_three_frames(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "odd.avi", mf.moving_frames(3, 97, 61), codec="ffv1", options={"pix_fmt": "yuv444p"})
    frames, times = decode_video(path)
    assert frames.shape == (3, 97, 61, 3)
    if shutil.which("ffmpeg"):
        np.testing.assert_array_equal(frames, ffmpeg_frames(path, frames.shape))
    np.testing.assert_array_equal(read_clip(path, [2, 2, 0]), frames[[2, 2, 0]])
    np.testing.assert_allclose(times, [0, 0.1, 0.2])
    assert read_clip(path, [0], short_side=30).shape == (1, 48, 30, 3)


def test_resizing_never_enlarges() -> None:
    assert fitted_size(320, 240, 224) == (299, 224)
    assert fitted_size(240, 320, 224) == (224, 299)
    assert fitted_size(320, 240, 240) == (320, 240)
    assert fitted_size(320, 240, 256) == (320, 240)
    assert fitted_size(320, 240, None) == (320, 240)
    with pytest.raises(ValueError, match="positive"):
        fitted_size(320, 240, 0)


def test_an_index_past_the_end_is_an_error_unless_the_header_promised_it(tmp_path: Path, plain: Path) -> None:
    with pytest.raises(MediaError, match=rf"clip.mp4: frame {COUNT} is past the end; the video has {COUNT} frames"):
        read_clip(plain, [0, COUNT])
    path = tmp_path / "promises.avi"
    frames = mf.moving_frames(20)
    mf.encode(path, frames, codec="mjpeg")
    data = path.read_bytes()
    # avih dwTotalFrames and strh dwLength, 20 frames, are made to say 21
    assert data.count((20).to_bytes(4, "little")) >= 2
    header = data[:400].replace((20).to_bytes(4, "little"), (21).to_bytes(4, "little"))
    path.write_bytes(header + data[400:])
    clip = read_clip(path, [18, 19, 20])
    np.testing.assert_array_equal(clip[2], clip[1])
    assert (clip[0] != clip[1]).any()
    with pytest.raises(MediaError, match="frame 21 is past the end"):
        read_clip(path, [21])


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_wrong_indices_and_backends_are_refused(plain: Path, backend: str) -> None:
    for indices in ([], [3, -1]):
        with pytest.raises(ValueError, match="indices"):
            read_clip(plain, indices, backend=backend)
    with pytest.raises(ValueError, match="backend"):
        read_clip(plain, [0], backend="other")


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.avi"])
@pytest.mark.parametrize("share", [0.5, 0.85])
def test_a_truncated_file_is_told_apart_from_a_short_one(tmp_path: Path, name: str, share: float) -> None:
    whole = tmp_path / f"whole{Path(name).suffix}"
    kind = {"codec": "mpeg4", "tag": "xvid"} if name.endswith("avi") else {"bframes": 2}
    mf.encode(whole, mf.moving_frames(100), **kind, container={"movflags": "+faststart"} if "mp4" in name else None)
    data = whole.read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MediaError, match=rf"{name}: cut off"):
        decode_video(path)
    with pytest.raises(MediaError, match=rf"{name}: cut off"):
        read_clip(path, [0, 99])
    np.testing.assert_array_equal(read_clip(path, [0, 20]), mf.plain_decode(whole)[[0, 20]])
    assert len(decode_video(whole)[0]) == 100


def test_an_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = mf.encode(tmp_path / "whole.mp4", mf.moving_frames(10))  # the index comes last
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(MediaError, match=r"cut\.mp4"):
        read_clip(path, [0])


@pytest.mark.parametrize("name", ["broken.mp4", "broken.mkv", "broken.avi"])
def test_a_broken_middle_is_never_painted_over(tmp_path: Path, name: str) -> None:
    whole = tmp_path / f"whole{Path(name).suffix}"
    kind = {"codec": "mpeg4", "tag": "xvid"} if name.endswith("avi") else {"bframes": 2}
    mf.encode(whole, mf.moving_frames(COUNT, 144, 192), **kind)
    reference = mf.plain_decode(whole)
    data = whole.read_bytes()
    rng = np.random.default_rng(0)
    caught = 0
    for trial in range(6):
        broken = bytearray(data)
        place = int(len(broken) * rng.uniform(0.3, 0.8))
        broken[place : place + 60] = rng.integers(0, 256, 60).astype(np.uint8).tobytes()
        path = tmp_path / f"{trial}_{name}"
        path.write_bytes(bytes(broken))
        try:
            frames, _ = decode_video(path)
        except MediaError as error:
            message = error.message
        else:
            # damage may also decode, to other pixels, with no rule of the format broken; no frame is ever lost
            assert len(frames) == COUNT
            assert np.mean((frames != reference).any(axis=(1, 2, 3))) < 0.5
            continue
        caught += path.name in message
        with pytest.raises(MediaError, match=path.name):
            read_clip(path, list(range(COUNT)))
    assert caught >= 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("zero.mp4", b"", "empty"),
        ("text.mp4", b"this is no video\n" * 50, "not a readable media file"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n", "not a readable media file"),
        ("concat.mp4", b"ffconcat version 1.0\nfile other.mp4\n", "not a readable media file"),
    ],
)
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_what_is_no_video_gets_one_clear_line(
    tmp_path: Path, name: str, content: bytes, message: str, backend: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=rf"{name}: .*{message}") as caught:
        read_clip(path, [0], backend=backend)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 3


def test_a_missing_file_a_folder_and_a_sound_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        read_clip(tmp_path / "none.mp4", [0])
    with pytest.raises(MediaError, match="folder"):
        read_clip(tmp_path, [0])
    sound = mf.encode(tmp_path / "sound.m4a", None, sound=mf.chirp(1.0))
    with pytest.raises(MediaError, match="holds no video"):
        read_clip(sound, [0])
    with pytest.raises(MediaError, match="holds no video"):
        next(iterate_frames(sound))


def test_iterating_holds_one_frame_at_a_time_and_can_stop_early(plain: Path) -> None:
    frames = iterate_frames(plain, short_side=32)
    time, frame = next(frames)
    assert (time, frame.shape, frame.dtype) == (0.0, (32, 43, 3), np.uint8)
    frames.close()
