"""A sheet that shows a person what the demo's classes are: twins to the ear side by side, in pictures and sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asgmcli.files import replacing
from asgmcli.synthetic.kinds import Kind, companion, groups_of
from asgmcli.synthetic.spectrogram import RANGE_DB, spectrogram
from asgmcli.synthetic.stickers import font_path

SHOWN = 4  # frames
ACROSS = 2  # clips a row: twins, where two kinds share a timbre
CELL, SOUND, GAP, NAME = 132, 184, 5, 128  # pixels
HEAD, SIDE, BETWEEN = 118, 24, 34
ROW = CELL + 22
PAPER, TEXT, NOTE, BOX = "#fbfaf7", "#1d1d1f", "#6b6b70", "#ffd400"
LOW = np.array([(251, 250, 247), (252, 197, 135), (221, 95, 102), (110, 38, 118), (18, 11, 48)], float)
"""Colours of the spectrogram from silent to loud."""


@dataclass(frozen=True)
class Example:
    """A clip of one kind.

    `frames` uint8 [T, H, W, 3], `boxes` of the source int [T, 4] in pixels, `sound` float [S].
    """

    kind: Kind
    frames: np.ndarray
    boxes: np.ndarray
    sound: np.ndarray


def draw_preview(
    path: Path, kinds: tuple[Kind, ...], examples: Sequence[Example], size: int, companions: float | None
) -> None:
    """Draw two kinds a row to `path` (PNG), atomically.

    Args:
        path: of the picture.
        kinds: that there are.
        examples: at most one of each kind, in their order.
        size: a clip's side in pixels.
        companions: the probability of a usual companion, None where there are none.
    """
    pair = NAME + SHOWN * (CELL + GAP) + SOUND
    rows = -(-len(kinds) // ACROSS)
    width, height = 2 * SIDE + ACROSS * pair + (ACROSS - 1) * BETWEEN, HEAD + rows * ROW + SIDE // 2
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((SIDE, 20), "One of these things sounds. Which?", font=_font(27, bold=True), fill=TEXT)
    pen.text((SIDE, 60), _told(kinds, size, companions), font=_font(14.5), fill=NOTE, spacing=6)
    known = {example.kind.name: example for example in examples}
    for number, kind in enumerate(kinds):
        left, top = SIDE + number % ACROSS * (pair + BETWEEN), HEAD + number // ACROSS * ROW
        _names(pen, kind, left, top)
        if kind.name in known:
            _clip(sheet, pen, known[kind.name], left + NAME, top)
    with replacing(path) as temporary:
        sheet.save(temporary, format="png")


def _told(kinds: tuple[Kind, ...], size: int, companions: float | None) -> str:
    shared = len(groups_of(kinds)) < len(kinds)
    told = "The class is the kind of the thing that sounds (boxed). " + (
        "The two kinds of a row share one timbre, so the sound leaves two kinds; the picture leaves the two or three\n"
        "that are to be seen; both together tell."
        if shared
        else "Each kind has sounds of its own; the picture leaves the two or three kinds that are to be seen.\n"
    )
    if companions:
        told += (
            f" In {companions:.0%} of the training clips a class has its usual companion beside it, "
            f"as {kinds[companion(0, kinds)].name} is {kinds[0].name}'s."
        )
    drawn = f"Clips are {size} pixels wide and drawn finer here."
    return f"{told} {drawn} Right of each: the sound, low to high, over its time.".replace("\n ", "\n")


def _names(pen: ImageDraw.ImageDraw, kind: Kind, left: int, top: int) -> None:
    middle = top + CELL / 2
    name, sounds = (text.replace("_", " ") for text in (kind.name, f"sounds: {kind.timbre}"))
    pen.text((left, middle - 14), name, font=_fitting(name, 19, bold=True), fill=TEXT, anchor="lm")
    if kind.timbre != kind.name:
        pen.text((left, middle + 12), sounds, font=_fitting(sounds, 13.5), fill=NOTE, anchor="lm")


def _clip(sheet: Image.Image, pen: ImageDraw.ImageDraw, example: Example, left: int, top: int) -> None:
    count = len(example.frames)
    for place in range(SHOWN):
        frame = place * count // SHOWN
        picture = Image.fromarray(example.frames[frame])
        scale = CELL / picture.width
        x = left + place * (CELL + GAP)
        sheet.paste(picture.resize((CELL, CELL), Image.Resampling.LANCZOS), (x, top))
        x1, y1, x2, y2 = (float(value) * scale for value in example.boxes[frame])
        for inset, colour in ((0, "#000000"), (1, BOX), (2, BOX), (3, "#000000")):
            pen.rectangle((x + x1 + inset, top + y1 + inset, x + x2 - 1 - inset, top + y2 - 1 - inset), outline=colour)
    sheet.paste(_sound(example.sound), (left + SHOWN * (CELL + GAP) + GAP, top))


def _sound(sound: np.ndarray) -> Image.Image:
    """Return the spectrogram, low frequencies below and wider, in a picture of SOUND x CELL pixels."""
    power = spectrogram(sound)
    bands = np.geomspace(2, len(power) - 1, CELL)
    rows = np.stack([np.interp(bands, np.arange(len(power)), column) for column in power.T], axis=1)[::-1]
    loud = np.clip((rows - rows.max()) / RANGE_DB + 1, 0, 1) ** 1.5
    steps = np.linspace(0, 1, len(LOW))
    colours = np.stack([np.interp(loud, steps, LOW[:, channel]) for channel in range(3)], axis=-1)
    return Image.fromarray(colours.round().astype(np.uint8)).resize((SOUND - GAP, CELL), Image.Resampling.BILINEAR)


def _font(points: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    path = font_path()
    return ImageFont.truetype(path.with_name("DejaVuSans-Bold.ttf") if bold else path, points)


def _fitting(text: str, points: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return a font of `points`, smaller where the text would not fit beside its clip."""
    font = _font(points, bold=bold)
    return _font(points * min(1.0, (NAME - 8) / font.getlength(text)), bold=bold)
