"""Stills of glyphs: what is in them, and that nothing of the world is."""

from __future__ import annotations

import numpy as np
import pytest

from asgmcli.recipe.pretext import MOST_GLYPHS
from asgmcli.synthetic import glyphs
from asgmcli.synthetic.kinds import KINDS
from asgmcli.synthetic.stickers import table


def draw(seed: int, count: int = 40) -> glyphs.Still:
    return glyphs.draw_still(np.random.default_rng(seed), count, 48)


def test_no_glyph_is_a_kind_of_the_world_nor_looks_like_one() -> None:
    assert len(set(glyphs.GLYPHS)) == len(glyphs.GLYPHS) == MOST_GLYPHS
    assert not set(glyphs.GLYPHS) & {kind.glyph for kind in KINDS}
    of_world = np.stack([table(kind.glyph)[0] < 0 for kind in KINDS])
    for glyph in glyphs.GLYPHS:
        ink = table(glyph)[0] < 0
        both, either = (of_world & ink).sum((1, 2)), (of_world | ink).sum((1, 2))
        assert (both / either).max() < 0.66, glyph


def test_a_still_is_a_function_of_its_draws() -> None:
    one, other, third = draw(3), draw(3), draw(4)
    assert np.array_equal(one.frame, other.frame)
    assert np.array_equal(one.places, other.places, equal_nan=True)
    assert not np.array_equal(one.frame, third.frame)


def test_what_is_in_a_still() -> None:
    stills = [draw(seed) for seed in range(200)]
    counts = [int((still.glyphs >= 0).sum()) for still in stills]
    assert set(counts) == {1, 2, 3}
    for still, count in zip(stills, counts, strict=True):
        assert (still.frame.shape, still.frame.dtype) == ((48, 48, 3), np.uint8)
        assert len(set(still.glyphs[:count].tolist())) == count
        assert still.glyphs.max() < 40
        assert bool(np.isfinite(still.places[:count]).all())
        assert bool(np.isnan(still.places[count:]).all())
        low, high = glyphs.DIAMETER
        assert bool(((still.places[:count, 2] >= low / 2) & (still.places[:count, 2] <= high / 2)).all())


def test_a_sticker_lies_where_the_still_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a black ground all that is not black lies within the bodies, which reach a stretched radius at most."""
    monkeypatch.setattr(glyphs, "_ground", lambda rng, size: np.zeros((1, size, size, 3), np.float32))
    rows, columns = np.mgrid[:48, :48] + 0.5
    for seed in range(40):
        still = draw(seed)
        found = still.frame.any(axis=2)
        reach = np.zeros((48, 48), bool)
        for x, y, radius in still.places[still.glyphs >= 0]:
            away = np.hypot(columns / 48 - x, rows / 48 - y)
            reach |= away < (1 + glyphs.STRETCH) * np.sqrt(2) * radius + 0.03
            assert bool(found[away < radius].any())
        assert not bool(found[~reach].any())
