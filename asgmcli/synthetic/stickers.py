"""Stickers: a glyph in dark ink on a light body that is a little wider all round, drawn at any size and turn.

Glyphs are read from DejaVu Sans where matplotlib keeps it; its licence allows use and embedding.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asgmcli.errors import DataError
from asgmcli.synthetic.motions import Pose
from asgmcli.synthetic.sprites import Patch, window

INK_SIDE, RIM = 96, 6
"""Longer side of a glyph's ink in pixels of its table, and how much wider the body is all round."""
RADIUS = INK_SIDE / 2 + RIM
"""Of the body, pixels of the table."""
SIDE = 128
FINER = 2  # times, the picture that distances are measured on
FONT = "DejaVuSans.ttf"
NO_GLYPH = "\uffff"


def font_path() -> Path:
    """Return the font file.

    Raises:
        DataError: matplotlib's data lack it.
    """
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FONT
    if not path.is_file():
        raise DataError(f"{path}: no such font, which generated clips need. Install matplotlib's own data files.")
    return path


@lru_cache(maxsize=1024)
def table(glyph: str) -> np.ndarray:
    """Return the signed distances to a glyph's ink and to its body, float32 [2, SIDE, SIDE], in radii of the body.

    Negative inside. The longer side of the body spans -1 to 1.

    Raises:
        DataError: the font does not have the glyph.
    """
    from scipy.ndimage import binary_fill_holes, uniform_filter

    ink = _ink(glyph)
    distances = []
    for inside, wider in ((ink, 0), (binary_fill_holes(ink), RIM)):
        # Thresholded pixels leave stairs, which a small mean takes away.
        fine = uniform_filter(_signed(inside), FINER + 1) / FINER - wider
        distances.append(fine.reshape(SIDE, FINER, SIDE, FINER).mean(axis=(1, 3)) / RADIUS)
    return np.stack(distances).astype(np.float32)


def cut_sticker(glyph: str, pose: Pose, radius: float, size: int) -> Patch:
    """Draw a sticker into patches for frames of `size` pixels; `pose` and `radius` in frame sides, all frames at once.

    A patch's `alpha` is the body, its `body` the ink.
    """
    at = window(pose, radius, size)
    ink, body = np.clip(np.float32(0.5) - _distances(glyph, at.u, at.v) * at.pixels, 0, 1)
    return Patch(alpha=body, body=ink, tone=np.zeros_like(ink), left=at.left, top=at.top)


def draw_colours(rng: np.random.Generator) -> np.ndarray:
    """Draw a sticker's colours [3, 3]: a light body, and dark ink twice (`sprites.paint` knows two tones)."""
    body = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.2, 0.65), rng.uniform(0.82, 1.0))
    ink = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.4, 0.9), rng.uniform(0.1, 0.3))
    return np.array([body, ink, ink])


def _distances(glyph: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return [2, ...], the distances to ink and body at u, v [...] in radii, between a table's entries linearly."""
    last = np.float32(SIDE - 1.001)
    x, y = (np.clip(line * np.float32(RADIUS) + np.float32((SIDE - 1) / 2), 0, last) for line in (u, v))
    column, row = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - column.astype(np.float32), y - row.astype(np.float32)
    start = row * SIDE + column
    fields = table(glyph).reshape(2, -1)
    upper, lower = (
        first + fx * (fields.take(here + 1, axis=1) - first)
        for here, first in ((here, fields.take(here, axis=1)) for here in (start, start + SIDE))
    )
    found: np.ndarray = upper + fy * (lower - upper)
    return found


def _signed(inside: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the edge, negative inside."""
    from scipy.ndimage import distance_transform_edt

    out: np.ndarray = distance_transform_edt(~inside) - distance_transform_edt(inside)
    return out


def _ink(glyph: str) -> np.ndarray:
    """Return the glyph's pixels in the middle of a picture, bool [FINER * SIDE, FINER * SIDE]."""
    side, wanted = SIDE * FINER, INK_SIDE * FINER
    path = font_path()
    font = ImageFont.truetype(path, wanted)
    drawn = font.getmask(glyph)
    if drawn.getbbox() is None or bytes(drawn) == bytes(font.getmask(NO_GLYPH)):
        raise DataError(f"{path} has no glyph U+{ord(glyph):04X}. Install a newer matplotlib, whose font has it.")
    left, top, right, bottom = drawn.getbbox()
    font = ImageFont.truetype(path, wanted * wanted / max(right - left, bottom - top))
    picture = Image.new("L", (side, side))
    ImageDraw.Draw(picture).text((side / 2, side / 2), glyph, fill=255, font=font, anchor="mm")
    ink = np.asarray(picture) >= 128
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    shifts = [round((side - 1 - found[0] - found[-1]) / 2) for found in (rows, columns)]
    return np.roll(ink, shifts, (0, 1))
