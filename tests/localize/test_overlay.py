"""A map over its frame, by hand."""

from __future__ import annotations

import numpy as np

from asgmcli.localize.overlay import overlay


def test_overlay_by_hand() -> None:
    frame = np.full((4, 6, 3), 100, np.uint8)
    assert np.array_equal(overlay(frame, np.full((2, 2), 0.7, np.float32)), frame)
    hot = np.zeros((4, 6), np.float32)
    hot[:, 3:] = 1
    seen = overlay(frame, hot, alpha=1.0).astype(int)
    assert np.abs(seen[:, 0] - 100).max() <= 1
    assert np.abs(seen[:, 5] - np.array([252, 255, 164])).max() <= 2  # inferno's brightest colour
    half = overlay(frame, hot, alpha=0.5).astype(int)
    assert np.abs(half[:, 5] - (np.array([252, 255, 164]) + 100) / 2).max() <= 2
