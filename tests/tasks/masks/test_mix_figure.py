"""Figure 2's panels."""

from __future__ import annotations

import numpy as np

from asgmcli.tasks.masks.mix_figure import mix_frames


def test_mixed_frames_give_the_inputs_back() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 255, (2, 30, 40, 3), np.uint8)
    assert np.array_equal(mix_frames(a, b, np.ones((14, 14), bool)), a)
    assert np.array_equal(mix_frames(a, b, np.zeros((14, 14), bool)), b)
    mask = rng.random((3, 4)) < 0.5
    assert np.array_equal(mix_frames(a, b, mask), mix_frames(b, a, ~mask))
