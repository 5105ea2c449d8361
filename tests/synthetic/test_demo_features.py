"""What the network of the parsing demo's features learns from: stills of other glyphs, and where each of them is."""

from __future__ import annotations

import numpy as np
import torch

from asgmcli.synthetic import demo_features
from asgmcli.synthetic.event_casts import PARSING_KINDS
from asgmcli.synthetic.glyphs import GLYPHS, draw_still


def test_it_learns_no_glyph_of_the_demos() -> None:
    assert not {kind.glyph for kind in PARSING_KINDS} & set(GLYPHS[: demo_features.GLYPHS])


def test_a_cell_is_of_the_sticker_over_its_middle() -> None:
    middle = (np.arange(6) + 0.5) / 6
    for number in range(30):
        frame, cells = demo_features.draw_cells(7, number)
        still = draw_still(np.random.default_rng([7, number]), demo_features.GLYPHS, 48)
        np.testing.assert_array_equal(frame, still.frame)
        shown = [int(glyph) for glyph in still.glyphs if glyph >= 0]
        assert set(cells.ravel().tolist()) <= {0, *(glyph + 1 for glyph in shown)}
        x, y, radius = still.places[len(shown) - 1]  # the nearest, which nothing hides
        away = np.hypot(middle[None] - x, middle[:, None] - y)
        assert (cells[away <= 0.6 * radius] == shown[-1] + 1).all()
        assert (cells.ravel()[away.argmin()]) == shown[-1] + 1
        assert (cells[away > max(0.6 * radius, away.min())] != shown[-1] + 1).all()


def test_the_same_stills_make_the_same_network() -> None:
    one, two, other = (demo_features.train_stills(50, 2, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
