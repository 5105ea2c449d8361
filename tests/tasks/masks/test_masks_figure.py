"""Figure 3's panels."""

from __future__ import annotations

import numpy as np

from asgmcli.tasks.masks.masks_figure import MaskPanels, draw_one, masked
from asgmcli.tasks.masks.pictures import in_square


def test_masked_paints_over_exactly_what_is_dropped() -> None:
    frame = np.full((28, 28, 3), 9, np.uint8)
    mask = np.zeros((2, 4), bool)
    mask[1, 2] = True
    hidden = (masked(frame, mask) != 9).all(axis=2)
    assert not hidden[14:, 14:21].any()
    assert hidden.sum() == 28 * 28 - 14 * 7
    assert np.array_equal(masked(frame, np.ones((3, 5), bool)), frame)


def test_boxes_of_a_frame_are_those_of_its_central_square() -> None:
    boxes = np.array([[0.25, 0.0, 0.75, 1.0], [0.0, 0.5, 0.5, 0.75]])
    assert in_square(boxes, 64, 64).tolist() == boxes.tolist()
    assert in_square(boxes, 128, 64).tolist() == [[0, 0, 1, 1], [0, 0.5, 0.5, 0.75]]
    assert in_square(boxes, 64, 128).tolist() == [[0.25, 0, 0.75, 1], [0, 0.5, 0.5, 1]]


def test_sources_are_boxed_on_the_frame_and_on_the_map() -> None:
    frame, mask, amount = np.zeros((64, 64, 3), np.uint8), np.ones((2, 2), bool), np.ones((2, 2), np.float32)
    panels = MaskPanels(frame, mask, amount, amount, mask, amount, np.array([[0.25, 0.5, 0.75, 1.0]]))
    found = [axes.patches for axes in draw_one(panels, 9, 0.3, "", "").axes[:8]]
    assert [len(patches) for patches in found] == [2, 0, 0, 0, 2, 0, 0, 0]  # a light line on a dark one
    for patch in (*found[0], *found[4]):
        assert patch.get_bbox().extents.tolist() == [15.5, 31.5, 47.5, 63.5]  # pixels, the first one's middle at 0
