"""Figure 3's panels."""

from __future__ import annotations

import numpy as np

from asgmcli.tasks.masks.masks_figure import masked


def test_masked_paints_over_exactly_what_is_dropped() -> None:
    frame = np.full((28, 28, 3), 9, np.uint8)
    mask = np.zeros((2, 4), bool)
    mask[1, 2] = True
    hidden = (masked(frame, mask) != 9).all(axis=2)
    assert not hidden[14:, 14:21].any()
    assert hidden.sum() == 28 * 28 - 14 * 7
    assert np.array_equal(masked(frame, np.ones((3, 5), bool)), frame)
