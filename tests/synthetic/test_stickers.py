"""Stickers: glyphs of a font, in ink on a body a little wider, at any size and turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from asgmcli.errors import DataError
from asgmcli.synthetic import stickers
from asgmcli.synthetic.kinds import KINDS
from asgmcli.synthetic.motions import pose_of
from asgmcli.synthetic.stickers import INK_SIDE, RADIUS, RIM, SIDE, cut_sticker, draw_colours, table

GLYPHS = [kind.glyph for kind in KINDS]
STILL = pose_of(np.zeros(1), x=0.5, y=0.5)


def patch_of(glyph: str, size: int = 96, radius: float = 0.4, **pose: float) -> np.ndarray:
    """Ink and body of a sticker in the middle of a frame, float [2, S, S]."""
    patch = cut_sticker(glyph, pose_of(np.zeros(1), **{"x": 0.5, "y": 0.5, **pose}), radius, size)
    found = np.zeros((2, size, size))
    rows, columns, inner_rows, inner_columns = patch.spans(0, size)
    for field, part in zip(found, (patch.body, patch.alpha), strict=True):
        field[rows, columns] = part[0, inner_rows, inner_columns]
    return found


@pytest.mark.parametrize("glyph", GLYPHS)
def test_a_glyph_is_in_the_font_and_fills_its_table(glyph: str) -> None:
    ink, body = table(glyph) * RADIUS  # pixels of the table
    assert ink.shape == (SIDE, SIDE)
    for distance, longer in ((ink, INK_SIDE), (body, INK_SIDE + 2 * RIM)):
        rows, columns = np.nonzero(distance < 0)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(longer, abs=2)
        assert rows.min() + rows.max() == pytest.approx(SIDE - 1, abs=2)
        assert columns.min() + columns.max() == pytest.approx(SIDE - 1, abs=2)
    # All ink lies on the body, RIM pixels from its edge.
    assert (body[ink < 0] < 0).all()
    assert body[(ink < 0.5) & (ink > -0.5)].max() == pytest.approx(-RIM, abs=1.5)


def test_distances_are_those_of_a_slow_search() -> None:
    field = stickers._signed(np.pad(np.ones((3, 4), bool), 3))
    rows, columns = np.mgrid[:9, :10]
    inside = (rows >= 3) & (rows < 6) & (columns >= 3) & (columns < 7)
    for row in range(9):
        for column in range(10):
            other = inside != inside[row, column]
            nearest = np.hypot(rows[other] - row, columns[other] - column).min()
            assert field[row, column] == pytest.approx(-nearest if inside[row, column] else nearest)


def test_a_sticker_looks_like_the_glyph_that_the_font_draws() -> None:
    ink, body = patch_of("\N{ANCHOR}", size=200)
    font = ImageFont.truetype(stickers.font_path(), 300)
    mask = font.getmask("\N{ANCHOR}")
    drawn = np.asarray(Image.frombytes("L", mask.size, bytes(mask)).crop(mask.getbbox()))
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    there = np.asarray(Image.fromarray(drawn).resize(cut.shape[::-1], Image.Resampling.BOX)) / 255
    assert np.abs(cut - there).mean() < 0.02
    assert body.sum() > ink.sum()


def test_holes_are_filled_but_bays_are_not() -> None:
    ink, body = patch_of("\N{GEAR}")
    assert ink[48, 48] == 1  # the hub
    assert (body - ink).max() == 1  # the disc about it is body
    assert body[0, 0] == 0


def test_size_turn_and_stretch() -> None:
    longer = {}
    for name, pose in {"small": {}, "turned": {"angle": np.pi / 2}, "flat": {"scale_y": 0.5}}.items():
        rows, columns = np.nonzero(patch_of("\N{BEAMED EIGHTH NOTES}", **pose)[1] > 0.5)  # type: ignore[arg-type]
        longer[name] = np.array([np.ptp(rows), np.ptp(columns)]) + 1
    assert longer["small"][0] == pytest.approx(2 * 0.4 * 96, abs=2)  # the body's longer side is two radii
    np.testing.assert_allclose(longer["turned"], longer["small"][::-1], atol=1)
    np.testing.assert_allclose(longer["flat"], longer["small"] * (0.5, 1), atol=1)


def test_a_quarter_turn_is_a_turn_of_the_picture() -> None:
    for glyph in ("\N{CAT FACE}", "\N{AIRPLANE}"):
        turned, still = (patch_of(glyph, angle=angle) for angle in (np.pi / 2, 0.0))
        np.testing.assert_allclose(turned, np.rot90(still, -1, (1, 2)), atol=1e-3)


def test_no_sticker_is_cut_off_by_its_window() -> None:
    for glyph in GLYPHS:
        for angle in np.linspace(0, 2 * np.pi, 9):
            patch = cut_sticker(glyph, pose_of(np.zeros(1), x=0.5, y=0.5, angle=float(angle)), 0.2, 64)
            edge = np.concatenate([patch.alpha[0][[0, -1]].ravel(), patch.alpha[0][:, [0, -1]].ravel()])
            assert edge.max() == 0


def test_colours_are_a_light_body_and_dark_ink() -> None:
    for seed in range(200):
        body, ink, again = draw_colours(np.random.default_rng(seed))
        assert body.max() >= 0.82
        assert ink.max() <= 0.3
        np.testing.assert_array_equal(ink, again)


def test_a_glyph_that_the_font_lacks_is_told() -> None:
    with pytest.raises(DataError, match=r"DejaVuSans\.ttf has no glyph U\+4E00.*matplotlib"):
        table("\u4e00")


def test_a_missing_font_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("matplotlib.get_data_path", lambda: str(tmp_path))
    with pytest.raises(DataError, match="no such font"):
        stickers.font_path()
