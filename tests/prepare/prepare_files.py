"""Clips for the tests of `asgm prepare`, and the command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np

from asgmcli.media.write import write_clip
from asgmcli.prepare.verify import Facts, Fault, FileCheck, examine

TONE = 0.1 * np.sin(np.arange(32_000) / 5).astype(np.float32)


def pictures(frames: int, seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth moving pictures, different for each seed."""
    rng = np.random.default_rng(seed)
    y, x, t = np.mgrid[0:height, 0:width, 0:frames]
    # Slow in space: halved chroma must not blur what tests compare.
    waves = [np.sin(x * a / width + y * b / height + t * c) for a, b, c in rng.uniform(1, 6, (3, 3)) / (1, 1, 20)]
    return ((np.stack(waves, -1) + 1) * 127).astype(np.uint8).transpose(2, 0, 1, 3)


def clip_bytes(folder: Path) -> bytes:
    """Two seconds of 16 pictures with a tone at -20 dBFS."""
    path = folder / "clip.mp4"
    write_clip(path, pictures(16), 8.0, TONE)
    return path.read_bytes()


def distinct(clip: bytes, number: int) -> bytes:
    """The same clip in other bytes: an mp4 box that players pass over stands at its end."""
    return clip + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big")


def looked(path: Path, listen: bool = True, decode: bool = True, audio: str = "") -> Facts | Fault:
    return examine(FileCheck("x", str(path), audio, listen, decode))


def xvid(path: Path, frames: int = 40) -> None:
    """An AVI as UCF-101 holds them: MPEG-4 part 2 with B-frames and mp3."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.max_b_frames = 2
        audio = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        for picture in pictures(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        wave = (0.1 * np.sin(np.arange(int(44_100 * frames / 25)) / 9)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate = 44_100
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def start(*arguments: object) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "asgmcli", "prepare", *map(str, arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(*arguments: object) -> str:
    process = start(*arguments)
    text = process.communicate()[0].decode()
    assert process.returncode == 0, text
    return text
