"""CutMix boxes: UFE's shares, areas and shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asgmcli.masks.cutmix import cutmix_boxes
from tests.avs_golden import golden


def test_shares_and_areas_are_ufes() -> None:
    wanted = golden("unsupervised")
    areas = cutmix_boxes(4000, 64, np.random.default_rng(0)).float().mean(dim=(1, 2)).numpy()
    boxed = areas[areas > 0]
    assert float((areas == 0).mean()) == pytest.approx(float(wanted["cutmix_share_without"]), abs=0.04)
    assert float(boxed.mean()) == pytest.approx(float(wanted["cutmix_mean_area"]), abs=0.012)
    np.testing.assert_allclose(np.quantile(boxed, [0.1, 0.5, 0.9]), wanted["cutmix_area_quantiles"], atol=0.03)


def test_every_box_is_one_rectangle_inside() -> None:
    boxes = cutmix_boxes(200, 32, np.random.default_rng(1), probability=1.0)
    assert boxes.shape == (200, 32, 32)
    for box in boxes:
        rows, columns = box.any(dim=1), box.any(dim=0)
        assert int(box.sum()) == int(rows.sum()) * int(columns.sum())
        height, width = int(rows.sum()), int(columns.sum())
        assert 0.2 < width / height < 5


def test_probability_zero_draws_none_and_a_seed_repeats() -> None:
    assert not cutmix_boxes(20, 16, np.random.default_rng(2), probability=0.0).any()
    one, two = (cutmix_boxes(20, 16, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one, two)
