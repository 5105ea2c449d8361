"""A page of results: one HTML file with all of its pictures and videos, for any browser, without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from numpy.typing import NDArray
from PIL import Image

from asgmcli.report.table import Table

MOST_BYTES = 10_000_000
"""Size of a page that can be mailed."""
TEXT_BYTES = 1_000_000
"""What is kept free for text."""
MOST_WIDTH = 1640
"""Pixels of a picture's width; a wider one is made smaller."""
COLOURS = 256


@dataclass(frozen=True)
class Picture:
    """A PNG with the words that stand for it where it cannot be seen."""

    png: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Shown:
    """A clip with its answer.

    Attributes:
        title: its name.
        about: what is true and what was answered, a line each.
        mp4: the small video with the answer drawn in; None if there was no room or it cannot be read.
        poster: a JPEG that stands for the video until it plays.
        pictures: further pictures of the answer.
        texts: further texts of the answer, by name.
        good: True for one of the best, False for one of the worst, None for neither.
    """

    title: str
    about: Sequence[str] = ()
    mp4: bytes | None = None
    poster: bytes = b""
    pictures: Sequence[Picture] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    good: bool | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading; `folded` are texts by name that open at a click."""

    title: str
    words: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    clips: Sequence[Shown] = ()
    folded: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A title, facts by name, warnings, and sections."""

    title: str
    lead: str
    facts: Mapping[str, str]
    warnings: Sequence[str]
    sections: Sequence[Section]


def render(page: Page, most: int = MOST_BYTES) -> str:
    """Return the page as HTML of less than `most` bytes.

    Names of files and classes are text, whatever they hold. What has no room is left out, videos and pictures of the
    last clips first, and the page says so.
    """
    fitted, left = fit(page, most - TEXT_BYTES)
    notes = [f"{left} pictures or videos were left out: a page has at most {most // 1_000_000} MB."] if left else []
    sections = [section for section in fitted.sections if section != Section(section.title)]
    return _template().render(page=fitted, sections=sections, notes=notes)


def fit(page: Page, most: int) -> tuple[Page, int]:
    """Return the page with pictures and videos of at most `most` bytes as they stand in HTML, and how many it lost."""
    room, left = most, 0

    def kept(data: bytes | None) -> bool:
        nonlocal room, left
        size = 0 if data is None else -(-len(data) // 3) * 4
        if size > room:
            left += 1
            return False
        room -= size
        return True

    def pictures(found: Sequence[Picture]) -> tuple[Picture, ...]:
        return tuple(picture for picture in found if kept(picture.png))

    # Figures come first: of a page that is too large the clips are dearer.
    drawn = [replace(section, pictures=pictures(section.pictures)) for section in page.sections]
    sections = []
    for section in drawn:
        clips = [replace(clip, mp4=clip.mp4 if kept(_both(clip)) else None) for clip in section.clips]
        clips = [replace(clip, pictures=pictures(clip.pictures)) for clip in clips]
        sections.append(replace(section, clips=tuple(clips)))
    return replace(page, sections=sections), left


def _both(clip: Shown) -> bytes | None:
    return None if clip.mp4 is None else clip.mp4 + clip.poster


def read_picture(path: Path, alt: str, caption: str = "") -> Picture:
    """Return a picture file as a PNG of few bytes: at most `MOST_WIDTH` wide, in `COLOURS` colours."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        if image.width > MOST_WIDTH:
            image = image.resize((MOST_WIDTH, round(image.height * MOST_WIDTH / image.width)))
        out = io.BytesIO()
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return Picture(out.getvalue(), alt, caption)


def jpeg_of(frame: NDArray[np.uint8]) -> bytes:
    """Return a frame [H, W, 3] as a JPEG."""
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=80)
    return out.getvalue()


def data_address(content: bytes, kind: str) -> str:
    """Return `content` as a `data:` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = lambda content: data_address(content, "image/png")
    environment.filters["jpeg"] = lambda content: data_address(content, "image/jpeg")
    environment.filters["mp4"] = lambda content: data_address(content, "video/mp4")
    return environment.get_template("page.html")
