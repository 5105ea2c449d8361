"""Write a clip: uint8 frames and mono sound to an mp4 file (h264 + aac), atomically."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from asgmcli.errors import MediaError
from asgmcli.files import replacing

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    # Frames given so far, and the packets that came out.
    Encoded = tuple[int, list[Packet[VideoStream]]]

AUDIO_BIT_RATE = 64_000  # bits/s: ample for mono speech-band sound, where aac's own default doubles a small file
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
# x264's macroblock tree gives different bytes from run to run on processors with AVX-512. Without it the bytes are
# the same everywhere, and 3% to 28% more at the same quality.
REPEATABLE = {"mbtree": "0"}
MAX_FPS_DENOMINATOR = 65_535  # 29.97002997 becomes 30000/1001, which players know


def write_clip(
    path: str | os.PathLike[str],
    frames: np.ndarray | Iterable[np.ndarray],
    fps: float | Fraction,
    audio: np.ndarray | Callable[[int, int], np.ndarray] | None = None,
    rate: int = 16_000,
    *,
    crf: int = 23,
    gop: int | None = None,
    preset: str = "veryfast",
    tune: str | None = None,
    bframes: bool = True,
    quick_sound: bool = False,
) -> None:
    """Write frames and sound to `path` as mp4: h264 (yuv420p) and aac, index at the front of the file.

    The file is written atomically: beside the target, flushed to disk and renamed. The
    encoder has one thread, so that the same frames and settings give the same bytes, whatever the number of cores.

    Args:
        path: the target; its folder must exist. An existing file is replaced.
        frames: uint8 [T, H, W, 3], or any iterable of uint8 [H, W, 3] of one size, taken one at a time.
            h264 with halved chroma needs even sides: an odd side gets its last row or column once more.
        fps: frames per second.
        audio: float [S] mono in [-1, 1], its first sample at the first frame's time; values beyond are clipped. Or a
            function that reads it in pieces, from a sample on so many, as long as the picture lasts.
        rate: samples per second, one that aac knows.
        crf: x264's constant quality, 0 (lossless) to 51.
        gop: frames from one key frame to the next at most (x264's own choice when None).
        preset: x264's preset.
        tune: x264's tune, such as "fastdecode" or "animation".
        bframes: whether frames may be predicted from later ones.
        quick_sound: encode the sound in half the time, a little less close to the original.

    Raises:
        MediaError: the folder is missing or the file cannot be encoded.
        DataError: the file cannot be written.
        ValueError: frames, sound or rates of the wrong kind.
    """
    first, rest = _first_frame(frames)
    if fps <= 0:
        raise ValueError(f"fps must be positive, got {fps}")
    read, length = (audio, math.inf) if audio is None or callable(audio) else _of_array(audio, rate)
    options = REPEATABLE | {"crf": str(crf), "preset": preset} | ({"tune": tune} if tune else {})
    target = Path(path)
    if not target.parent.is_dir():
        raise MediaError(f"{target}: the folder {target.parent} does not exist; make it first")
    with replacing(target.absolute()) as temporary:
        try:
            with av.open(f"file:{temporary}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
                frame_rate = Fraction(fps).limit_denominator(MAX_FPS_DENOMINATOR)
                video = container.add_stream("libx264", rate=frame_rate, options=options)
                height, width = first.shape[:2]
                video.height, video.width = height + height % 2, width + width % 2
                video.pix_fmt = "yuv420p"
                context = video.codec_context
                context.thread_count = 1
                if gop is not None:
                    context.gop_size = gop
                if not bframes:
                    context.max_b_frames = 0
                encoded = _encode_video(video, chain([first], rest), first.shape)
                if read is None:
                    for _, packets in encoded:
                        container.mux(packets)
                else:
                    # Without noise substitution a span decodes to the same samples wherever decoding began.
                    sound = {"aac_pns": "0"} | ({"aac_coder": "fast"} if quick_sound else {})
                    stream = container.add_stream("aac", rate=rate, layout="mono", options=sound)
                    stream.codec_context.bit_rate = AUDIO_BIT_RATE
                    _mux_both(container, encoded, frame_rate, stream, read, length, rate)
        except (av.FFmpegError, OSError) as error:
            raise MediaError(
                f"{path}: cannot be written as mp4 ({error}); is there room, and does libx264 exist?"
            ) from error


def _first_frame(frames: np.ndarray | Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Return the first frame, whose size the encoder needs, and the others."""
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise ValueError("a clip needs at least one frame")
    if first.ndim != 3 or first.shape[2] != 3 or first.dtype != np.uint8 or 0 in first.shape:
        raise ValueError(f"frames must be uint8 [T, H, W, 3]; one is {first.dtype} {list(first.shape)}")
    return first, rest


def _of_array(audio: np.ndarray, rate: int) -> tuple[Callable[[int, int], np.ndarray], float]:
    """Return what reads the sound in pieces, and its length in samples."""
    if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
        raise ValueError(f"audio must be float [S]; it is {audio.dtype} {list(audio.shape)}")
    if rate not in AAC_RATES:
        raise ValueError(f"aac knows no rate of {rate}; choose one of {AAC_RATES}")
    if not np.isfinite(audio).all():
        raise ValueError("audio holds values that are not finite")
    return lambda start, count: audio[start : start + count], len(audio)


def _encode_video(stream: VideoStream, frames: Iterable[np.ndarray], shape: tuple[int, ...]) -> Iterator[Encoded]:
    """Yield (frames given so far, packets that came out), and at the end what the encoder still held."""
    pad = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
    count = 0
    for count, pixels in enumerate(frames, start=1):
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise ValueError(f"frame {count - 1} is {pixels.dtype} {list(pixels.shape)}, the first uint8 {list(shape)}")
        even = np.pad(pixels, pad, mode="edge") if pad[0][1] or pad[1][1] else np.ascontiguousarray(pixels)
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts = count - 1
        frame.time_base = 1 / stream.codec_context.framerate
        yield count, stream.encode(frame)
    yield count, stream.encode(None)


def _mux_both(
    container: OutputContainer,
    encoded: Iterable[Encoded],
    fps: Fraction,
    stream: AudioStream,
    read: Callable[[int, int], np.ndarray],
    length: float,
    rate: int,
) -> None:
    """Mux video packets with the sound up to their time, so that neither stream waits in memory for the other."""
    done = 0
    for count, packets in encoded:
        container.mux(packets)
        upto = int(min(int(count / fps * rate), length))
        _encode_audio(container, stream, read(done, upto - done), done, rate)
        done = upto
    if length < math.inf:
        _encode_audio(container, stream, read(done, int(length) - done), done, rate)
    container.mux(stream.encode(None))


def _encode_audio(container: OutputContainer, stream: AudioStream, wave: np.ndarray, start: int, rate: int) -> None:
    """Encode samples that begin at `start`."""
    if not len(wave):
        return
    samples = np.clip(wave, -1.0, 1.0).astype(np.float32)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate = rate
    frame.pts = start
    frame.time_base = Fraction(1, rate)
    container.mux(stream.encode(frame))
