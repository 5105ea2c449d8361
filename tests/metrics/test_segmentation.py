"""mIoU and F against AVSBench's own, against a loop over thresholds, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asgmcli.metrics.segmentation import f_curves, f_score, mask_iou
from tests.avs_golden import golden, logits, masks


def given() -> tuple[torch.Tensor, torch.Tensor]:
    truth = masks(81, 20, 40, 36, 3)
    found = logits(82, truth)
    for row, value in ((4, 0.0), (5, 9.0), (6, -9.0)):
        found[row] = value
    return found, torch.as_tensor(truth)


def test_they_equal_avsbenchs() -> None:
    wanted = golden("metrics")
    found, truth = given()
    np.testing.assert_allclose(mask_iou(found, truth).numpy(), wanted["iou"], atol=1e-5)
    assert float(mask_iou(found, truth).mean()) == pytest.approx(float(wanted["miou"]), abs=1e-5)
    np.testing.assert_allclose(f_score(found, truth, 5).numpy(), wanted["f_video"], atol=1e-5)
    np.testing.assert_allclose(f_score(found, truth, 1).numpy(), wanted["f_frame"], atol=1e-5)
    assert float(f_score(found, truth, 20)[0]) == pytest.approx(float(wanted["f_all"]), abs=1e-5)


def test_the_histogram_counts_as_a_loop_over_thresholds_does() -> None:
    found, truth = given()
    curves, counted = f_curves(found, truth)
    assert counted.tolist() == (truth.flatten(1).sum(1) > 0).tolist()
    thresholds = torch.linspace(0, 1 - 1e-10, 255)
    for frame in (0, 1, 4, 5, 6):
        probability, true = found[frame].sigmoid(), truth[frame] > 0
        for number in (0, 1, 127, 128, 253, 254):
            predicted = probability >= thresholds[number]
            hits = float((predicted & true).sum())
            p, r = hits / (float(predicted.sum()) + 1e-20), hits / (float(true.sum()) + 1e-20)
            f = 1.3 * p * r / (0.3 * p + r) if hits else 0.0
            assert float(curves[frame, number]) == pytest.approx(f, abs=1e-9)


def test_by_hand() -> None:
    truth = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]])
    found = torch.tensor([[[3.0, 0.0, 2.0, -1.0]], [[1.0, -1.0, -1.0, 0.0]]])
    assert mask_iou(found, truth).tolist() == pytest.approx([1 / 3, 3 / 4])
    # Best threshold: just the first pixel (P 1, R .5), or the first three (P 2/3, R 1).
    best = max(1.3 * 0.5 / (0.3 + 0.5), 1.3 * (2 / 3) / (0.3 * 2 / 3 + 1))
    assert f_score(found, truth, 2).tolist() == pytest.approx([best])
    assert f_score(found[1:], truth[1:], 5).tolist() == [0.0]  # a group of empty frames counts 0


def test_the_last_group_may_be_smaller_and_no_frame_gives_no_group() -> None:
    found, truth = given()
    groups = f_score(found, truth, 7)
    assert len(groups) == 3
    torch.testing.assert_close(groups[2:], f_score(found[14:], truth[14:], 7))
    assert len(f_score(found[:0], truth[:0], 5)) == 0
