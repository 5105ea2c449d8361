"""References for the loader: decord, and ffmpeg's command line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np


def has_decord() -> bool:
    """Return True if decord can be imported; it has wheels for x86-64 only."""
    return find_spec("decord") is not None


def decord_sample(
    path: Path, indices: Sequence[int], size: tuple[int, int], rate: int, start: float, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Read frames and sound by decord's two readers, on one thread.

    Args:
        path: the file.
        indices: of the frames.
        size: (width, height) of the result.
        rate: samples a second of the sound.
        start: start of the sound in seconds; the reader always decodes all of it.
        seconds: length of the sound.

    Returns:
        uint8 [T, H, W, 3] and float32 [S], shorter if the file ends before.
    """
    import decord

    width, height = size
    reader = decord.VideoReader(str(path), width=width, height=height, num_threads=1)
    frames: np.ndarray = reader.get_batch(list(indices)).asnumpy()
    sound = decord.AudioReader(str(path), sample_rate=rate, mono=True)
    first = max(round(start * rate), 0)
    wave: np.ndarray = sound[first : min(first + round(seconds * rate), sound.shape[1])].asnumpy()[0]
    return frames, wave


def find_ffmpeg() -> str | None:
    """Return the path of ffmpeg's command line, or None."""
    return shutil.which("ffmpeg")


def start_ffmpeg(program: str) -> None:
    """Start the command line and end it."""
    subprocess.run([program, "-version"], check=True, stdout=subprocess.DEVNULL)


def ffmpeg_frames(program: str, path: Path, indices: Sequence[int], fps: float, size: tuple[int, int]) -> np.ndarray:
    """Read frames at a regular step by ffmpeg's command line, which seeks to the first one; on one thread.

    Args:
        program: ffmpeg.
        path: the file.
        indices: of the frames, one step apart.
        fps: frames a second of the file.
        size: (width, height) of the result.

    Returns:
        uint8 [T, H, W, 3].
    """
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    # Half a frame early: a time rounded up would skip the frame.
    start = max((indices[0] - 0.5) / fps, 0.0)
    width, height = size
    line = [program, "-nostdin", "-v", "error", "-threads", "1", "-ss", f"{start:.6f}", "-i", str(path), "-an"]
    line += ["-vf", f"select='not(mod(n,{step}))',scale={width}:{height}", "-fps_mode", "passthrough"]
    line += ["-frames:v", str(len(indices)), "-filter_threads", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)
