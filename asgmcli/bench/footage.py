"""Generated files like those of the data sets: their containers, codecs, sizes and approximate bit rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

MARGIN = 64  # pixels of scenery beyond each edge of the picture, for the camera to wander over
CAMERA_NOISE = 2.5  # standard deviation in grey levels: what keeps real footage from compressing to nothing
ROUGHNESS = 1.6  # the fall of amplitude with spatial frequency; natural pictures have about 1 to 2
SOUND_RATE = 44_100


@dataclass(frozen=True)
class Kind:
    """Encoding of one data set's files.

    `seconds` is the usual length of a clip; `bit_rate` (bits/s) that of the picture if the codec has no quality
    setting.
    """

    name: str
    suffix: str
    width: int
    height: int
    fps: int
    seconds: float
    codec: str
    sound: str
    tag: str | None = None
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)


# Kinetics' and VGGSound's cutters run ffmpeg with x264 as it comes (crf 23, preset medium, a key frame in 250).
KINETICS = Kind("h264", ".mp4", 340, 256, 30, 10.0, "libx264", "aac")
LARGE = Kind("h264 720p", ".mp4", 1280, 720, 30, 10.0, "libx264", "aac", options={"preset": "veryfast"})
UCF = Kind("xvid", ".avi", 320, 240, 25, 7.2, "mpeg4", "libmp3lame", tag="xvid", bit_rate=450_000)


def make_original(path: Path, kind: Kind, seed: int = 0) -> Path:
    """Write a clip of this kind with pictures and stereo sound; one thread."""
    count = round(kind.seconds * kind.fps)
    with av.open(str(path), "w") as container:
        video = container.add_stream(kind.codec, rate=kind.fps, options=kind.options)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = kind.width, kind.height, "yuv420p"
        video.codec_context.thread_count = 1
        if kind.tag is not None:
            video.codec_context.codec_tag = kind.tag
        if kind.bit_rate is not None:
            video.codec_context.bit_rate = kind.bit_rate
            video.codec_context.gop_size = 250
        audio = container.add_stream(kind.sound, rate=SOUND_RATE, layout="stereo")
        assert isinstance(audio, AudioStream)
        sound = _sound(count / kind.fps, seed)
        heard = 0
        for index, picture in enumerate(footage(kind.width, kind.height, count, seed), start=1):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            upto = min(round(index / kind.fps * SOUND_RATE), sound.shape[1])
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, heard:upto]), "fltp", "stereo")
            frame.sample_rate, frame.pts = SOUND_RATE, heard
            container.mux(audio.encode(frame))
            heard = upto
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def footage(width: int, height: int, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield `count` pictures uint8 [H, W, 3]: a camera with a noisy sensor wanders over scenery."""
    rng = np.random.default_rng(seed)
    scenery = _texture(rng, height + 2 * MARGIN, width + 2 * MARGIN)
    noise = rng.normal(0, CAMERA_NOISE, (2 * height, 2 * width, 1)).astype(np.float32)
    for index in range(count):
        top = MARGIN + round(0.9 * MARGIN * np.sin(index / 40))
        left = MARGIN + round(0.9 * MARGIN * np.sin(index / 57 + 1))
        picture = scenery[top : top + height, left : left + width]
        row, column = rng.integers(0, (height, width))
        seen = picture + noise[row : row + height, column : column + width]
        yield np.clip(seen, 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return float32 [H, W, 3]: noise whose amplitude falls with spatial frequency, as in natural pictures."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    channels = []
    for _ in range(3):
        spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency**ROUGHNESS
        plane = np.fft.irfft2(spectrum, (height, width))
        channels.append(plane / plane.std())
    grey = np.stack(channels, axis=-1) @ np.array([[1.0, 1.0, 1.0], [0.3, 0.0, -0.3], [0.0, 0.2, -0.2]])
    picture: np.ndarray = (128 + 45 * grey).astype(np.float32)
    return picture


def _sound(seconds: float, seed: int) -> np.ndarray:
    """Return float32 [2, S] at `SOUND_RATE`: hum, noise and a beat."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    beat = np.exp(-8 * (time % 0.5))
    hum = np.sin(2 * np.pi * 220 * time) + 0.5 * np.sin(2 * np.pi * 663 * time)
    both = [0.2 * hum + 0.3 * beat * rng.standard_normal(len(time)) for _ in range(2)]
    return np.clip(np.stack(both) * 0.5, -1, 1).astype(np.float32)
