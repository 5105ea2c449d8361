"""Media files the tests make: every container, codec and defect that real data sets bring."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SHARED_CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"


def moving_frames(count: int, height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """uint8 [T, H, W, 3]: a smooth texture that slides, and a noisy square that jumps, so that no two are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3)).astype(np.uint8)
    texture = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
    frames = np.stack([np.roll(texture, (index, 2 * index), axis=(0, 1)) for index in range(count)])
    for index in range(count):
        top, left = rng.integers(0, max(height - 16, 1)), rng.integers(0, max(width - 16, 1))
        patch = frames[index, top : top + 16, left : left + 16]
        patch[:] = rng.integers(0, 256, patch.shape)
    return frames


def chirp(seconds: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """float32 [S]: a band-limited noise whose correlation with itself has one sharp peak."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / rate)
    spectrum[(frequency < 200) | (frequency > 2500)] = 0
    wave = np.fft.irfft(spectrum, count)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def lag(reference: np.ndarray, wave: np.ndarray, reach: int = 2000) -> int:
    """By how many samples `wave` runs behind `reference` (both [S]): the peak of their correlation."""
    size = 1 << (len(reference) + len(wave)).bit_length()
    product = np.fft.rfft(wave, size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(product, size)
    return int(np.argmax(np.concatenate([correlation[-reach:], correlation[:reach]]))) - reach


def encode(
    path: Path,
    frames: np.ndarray | None,
    *,
    fps: Fraction | int = 10,
    codec: str = "libx264",
    tag: str | None = None,
    options: dict[str, str] | None = None,
    bframes: int | None = None,
    gop: int | None = None,
    times: Sequence[float] | None = None,
    sound: np.ndarray | None = None,
    sound_rate: int = 16_000,
    sound_codec: str = "aac",
    sound_layout: str = "mono",
    sound_format: str = "fltp",
    sound_start: float = 0.0,
    sound_options: dict[str, str] | None = None,
    rotation: int = 0,
    hflip: bool = False,
    container: dict[str, str] | None = None,
    container_format: str | None = None,
) -> Path:
    """Encode frames (uint8 [T, H, W, 3]) at `times` (s; regular when None) and sound (float [S] or [C, S])."""
    with av.open(str(path), "w", format=container_format, options=container or {}) as output:
        streams: list[tuple[Any, Any]] = []
        if frames is not None:
            streams.append(_video(output, frames, fps, codec, tag, options, bframes, gop, times, rotation, hflip))
        if sound is not None:
            stream: Any = output.add_stream(
                sound_codec, rate=sound_rate, layout=sound_layout, options=sound_options or {}
            )
            stream.codec_context.format = sound_format
            streams.append((stream, _sound_frames(sound, sound_rate, sound_layout, sound_format, sound_start)))
        packets = [packet for stream, source in streams for frame in [*source, None] for packet in stream.encode(frame)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


def _video(
    output: Any,
    frames: np.ndarray,
    fps: Fraction | int,
    codec: str,
    tag: str | None,
    options: dict[str, str] | None,
    bframes: int | None,
    gop: int | None,
    times: Sequence[float] | None,
    rotation: int,
    hflip: bool,
) -> tuple[Any, Any]:
    options = dict(options or {})
    if codec == "libx264":
        options.setdefault("mbtree", "0")  # as in asgmcli.media.write: the same bytes on every run
    stream: Any = output.add_stream(codec, rate=fps, options=options)
    stream.height, stream.width = frames.shape[1:3]
    if codec != "gif":
        stream.pix_fmt = {"mjpeg": "yuvj420p", "libx264rgb": "rgb24"}.get(codec, "yuv420p")
    stream.codec_context.thread_count = 1
    if tag is not None:
        stream.codec_context.codec_tag = tag
    if bframes is not None:
        stream.codec_context.max_b_frames = bframes
    if gop is not None:
        stream.codec_context.gop_size = gop
    if times is not None:
        stream.codec_context.time_base = Fraction(1, 1000)
    if rotation or hflip:
        stream.set_display_rotation(rotation, hflip=hflip)

    def source() -> Any:
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = index if times is None else round(times[index] * 1000)
            frame.time_base = 1 / Fraction(fps) if times is None else Fraction(1, 1000)
            yield frame

    return stream, source()


def _sound_frames(sound: np.ndarray, rate: int, layout: str, sample_format: str, start: float) -> Any:
    channels = np.atleast_2d(sound)
    if sample_format.startswith("s16"):
        channels = np.clip(np.round(channels * 32768), -32768, 32767).astype(np.int16)
    elif sample_format.startswith("s32"):
        channels = np.clip(np.round(channels.astype(np.float64) * 2**31), -(2**31), 2**31 - 1).astype(np.int32)
    elif sample_format.startswith("u8"):
        channels = np.clip(np.round(channels * 128 + 128), 0, 255).astype(np.uint8)
    else:
        channels = channels.astype(np.float32)
    array = channels if sample_format.endswith("p") else channels.T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(array), format=sample_format, layout=layout)
    frame.sample_rate = rate
    frame.pts = round(start * rate)
    frame.time_base = Fraction(1, rate)
    yield frame


def plain_decode(path: Path) -> np.ndarray:
    """Every frame as rgb24 by the plainest route, the reference of all others: uint8 [F, H, W, 3], not rotated."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def cut(source: Path, path: Path, seconds: float, *, first: int | None = None) -> Path:
    """Copy a video's packets from the key frame before `seconds` on, as `ffmpeg -ss SECONDS -i SOURCE -c copy` does.

    What is shown before `seconds` gets times below zero, from which the mp4 muxer makes an edit list. `first`: begin
    instead with this packet of the video, key frame or not (`-copyinkf`), and hide nothing.
    """
    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in given.streams}
        packets = [packet for packet in given.demux() if packet.size]
        video = [packet for packet in packets if packet.stream.type == "video"]
        keys = [packet for packet in video if packet.is_keyframe and packet.pts * packet.time_base <= seconds]
        begin = keys[-1] if first is None else video[first]
        origin = seconds if first is None else float(begin.pts * begin.time_base)
        for packet in packets:
            late = packet.dts >= begin.dts if packet.stream.type == "video" else packet.pts * packet.time_base >= origin
            if late:
                shift = round(origin / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    return path


def live_webm(path: Path, frames: np.ndarray, *, fps: int = 10, sound: np.ndarray | None = None, **more: Any) -> Path:
    """Encode frames as browsers record them: neither length, index, sizes nor the pictures' duration are told."""
    encode(
        path,
        frames,
        fps=fps,
        codec="libvpx",
        options={"deadline": "realtime", "cpu-used": "8"},
        sound=sound,
        sound_rate=48_000,
        sound_codec="libopus",
        container={"live": "1"},
        **more,
    )
    data = path.read_bytes()
    assert b"\x44\x89" not in data[:400], "the muxer told a duration"
    # DefaultDuration becomes Void: what a browser's recorder does not write.
    at = data.index(b"\x23\xe3\x83\x84")
    path.write_bytes(data[:at] + b"\xec\x86" + bytes(6) + data[at + 8 :])
    return path
