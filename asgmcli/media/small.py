"""A clip made small for a page: its first seconds, few pixels, with its sound and words written over the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont, truetype

from asgmcli.errors import MediaError
from asgmcli.media.audio import read_audio
from asgmcli.media.video import iterate_frames
from asgmcli.media.write import write_clip

Frame = NDArray[np.uint8]
Words = Callable[[float], Sequence[str]]
"""Lines to write at a time of the clip, s."""
SHORT_SIDE = 180
"""Pixels of the picture's shorter side where nothing else is asked for."""
MOST_SECONDS = 8.0
FPS = 12.0
CRF = 30
RATE = 16_000
LETTERS = 13
"""Height of the letters, pixels."""
LINE = 18
"""Height of a line, pixels."""


def small_clip(
    path: Path,
    target: Path,
    *,
    audio: Path | None = None,
    words: Words | None = None,
    seconds: float = MOST_SECONDS,
    short_side: int = SHORT_SIDE,
) -> Frame:
    """Write the first `seconds` of a clip to `target` as a small mp4 with its sound.

    Args:
        path: of the clip.
        target: of the mp4.
        audio: file of its sound, the clip itself where left out; a clip without sound stays silent.
        words: the lines above the picture at a time, always equally many; longer ones end in an ellipsis. Players
            have their controls below.
        seconds: most that is kept.
        short_side: pixels of the picture's shorter side; a smaller picture is enlarged to it.

    Returns:
        The frame in the middle, uint8 [H, W, 3], to stand for the clip where it does not play.

    Raises:
        MediaError: the clip cannot be read, or the mp4 cannot be written.
    """
    picked = _picked(path, seconds, short_side)
    frames = [_with_words(frame, words(time) if words else (), short_side) for time, frame in picked]
    length = len(frames) / FPS
    try:
        sound = read_audio(audio or path, RATE, 0.0, length)
    except MediaError:
        sound = None
    write_clip(target, frames, FPS, sound, RATE, crf=CRF)
    return frames[len(frames) // 2]


def _picked(path: Path, seconds: float, short_side: int) -> Iterator[tuple[float, Frame]]:
    """Yield times k / FPS and the frame that is shown then, until `seconds` or the clip's end."""
    number = 0
    before: Frame | None = None
    for time, frame in iterate_frames(path, short_side=short_side):
        while number / FPS < min(time, seconds):
            yield number / FPS, frame if before is None else before
            number += 1
        if number / FPS >= seconds:
            return
        before = frame
    if before is not None:
        yield number / FPS, before


def _with_words(frame: Frame, lines: Sequence[str], short_side: int) -> Frame:
    """Return the frame, enlarged if it is small, with white lines on black above it."""
    height, width = frame.shape[:2]
    scale = max(1.0, short_side / min(height, width))
    size = (2 * round(scale * width / 2), 2 * round(scale * height / 2))
    picture = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)
    page = Image.new("RGB", (size[0], size[1] + LINE * len(lines)))
    page.paste(picture, (0, LINE * len(lines)))
    draw = ImageDraw.Draw(page)
    for number, text in enumerate(lines):
        draw.text((4, LINE * number + 1), _fitted(text, size[0] - 8), font=_font(), fill="white")
    return np.asarray(page)


def _fitted(text: str, width: int) -> str:
    """Return `text` on one line, cut so that it is at most `width` pixels long."""
    text = " ".join(text.split())
    if _font().getlength(text) <= width:
        return text
    while text and _font().getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@lru_cache(maxsize=1)
def _font() -> FreeTypeFont:
    import matplotlib

    # DejaVu has Latin, Greek, Cyrillic and more; every installation has it.
    return truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", LETTERS)
