from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.metrics.localization import (
    ciou,
    consensus_map,
    evaluate_ciou,
    inside_share,
    median_threshold,
    normalise_map,
    resize_map,
    summarize_ciou,
    union_map,
)
from tests.golden import inputs

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden_case():
    """(maps, boxes, thresholds, outputs) of the released evaluator's inputs."""
    maps, boxes, thresholds = [], [], []
    for i, (small, corners) in enumerate(zip(inputs.array(32, 12, 7, 7), inputs.boxes(31), strict=True)):
        boxes.append(union_map(np.array(corners) / 224, 224))
        large = resize_map(small, (224, 224)) + (4 * boxes[-1] if i % 2 == 0 else 0)
        maps.append(normalise_map(large))
        thresholds.append(median_threshold(maps[-1]) if i % 4 < 2 else 0.6)
    return maps, boxes, thresholds, np.load(GOLDEN / "ciou.npz")


def slow_ciou(heatmap, boxes, threshold):
    inside = outside = total = 0.0
    for hot_row, box_row in zip(heatmap, boxes, strict=True):
        for value, g in zip(hot_row, box_row, strict=True):
            total += g
            if value >= threshold:
                inside += g
                outside += g == 0
    return inside / (total + outside)


def test_equals_the_released_evaluator(golden_case):
    maps, boxes, thresholds, golden = golden_case
    values = [ciou(*case) for case in zip(maps, boxes, thresholds, strict=True)]
    np.testing.assert_allclose(values, golden["ciou"], atol=1e-6)
    summary = evaluate_ciou(maps, boxes, thresholds)
    assert summary["ciou50"] == pytest.approx(float(golden["ap50"]))
    assert summary["mean"] == pytest.approx(float(golden["mean"]), abs=1e-6)
    assert summary["auc"] == pytest.approx(float(golden["auc"]), abs=1e-9)


def test_torch_and_numpy_agree(golden_case):
    maps, boxes, thresholds, _ = golden_case
    for heatmap, box, threshold in zip(maps[:4], boxes, thresholds, strict=False):
        as_torch = ciou(torch.as_tensor(heatmap), torch.as_tensor(box), threshold)
        assert as_torch == ciou(heatmap, box, threshold)


def test_ciou_by_hand():
    boxes = np.array([[1, 0.5, 0], [0, 0, 0]])
    # Hot: the full pixel and one outside. 1 / (1.5 + 1).
    assert ciou(np.array([[0.9, 0.1, 0.1], [0.6, 0.1, 0.1]]), boxes, 0.6) == pytest.approx(0.4)
    assert ciou(np.array([[0.9, 0.9, 0.1], [0.1, 0.1, 0.1]]), boxes, 0.6) == 1
    assert ciou(np.zeros((2, 3)), boxes, 0.6) == 0
    assert ciou(np.zeros((2, 3)), np.zeros((2, 3)), 0.6) == 0


def test_ciou_against_loops():
    random = np.random.RandomState(4)
    for _ in range(20):
        heatmap, boxes = random.rand(9, 7), random.randint(0, 3, (9, 7)) / 2
        threshold = random.rand()
        assert ciou(heatmap, boxes, threshold) == pytest.approx(slow_ciou(heatmap, boxes, threshold))


def test_ciou_refuses_what_does_not_match():
    with pytest.raises(ValueError, match="one shape"):
        ciou(np.zeros((2, 3)), np.zeros((3, 2)), 0.5)
    with pytest.raises(ValueError, match="NaN"):
        ciou(np.full((2, 2), np.nan), np.ones((2, 2)), 0.5)


def test_evaluation_resizes_and_takes_the_median():
    # A 3 x 3 map whose hot half, resized, is exactly a box over the image's upper part.
    heatmap = torch.tensor([[9.0, 9.0, 9.0], [5.0, 5.0, 5.0], [1.0, 1.0, 1.0]])
    boxes = union_map([[0, 0, 1, 0.5]], (10, 8))
    assert evaluate_ciou([heatmap], [boxes]) == {"ciou50": 1.0, "mean": 1.0, "auc": pytest.approx(1.0)}
    low = evaluate_ciou([heatmap.flip(0)], [boxes])
    assert low["ciou50"] == low["mean"] == 0
    # Of the success curve only the first of twenty-one points, at 0, is reached.
    assert low["auc"] == pytest.approx(0.025)
    with pytest.raises(ValueError, match="boxes"):
        evaluate_ciou([heatmap], [])
    with pytest.raises(ValueError, match="no images"):
        summarize_ciou([])


def test_maps_of_boxes():
    boxes = [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]]
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1
    expected[1:, 1:] = 1
    assert np.array_equal(union_map(boxes, 4), expected)
    consensus = expected / 2
    consensus[1, 1] = 1
    assert np.array_equal(consensus_map(boxes, 4), consensus)
    assert np.array_equal(consensus_map(boxes * 2, 4), expected)
    # One person's two boxes overlap: still one vote.
    assert np.array_equal(consensus_map(boxes, 4, annotators=[0, 0]), expected / 2)
    assert union_map([], 4).sum() == 0
    with pytest.raises(ValueError, match="annotator"):
        consensus_map(boxes, 4, annotators=[0])


def test_boxes_keep_whole_pixels_at_any_size():
    for size in (7, 10, 100, 224):
        for pixel in range(size):
            assert union_map([[pixel / size, 0, 1, 1]], size)[0].sum() == size - pixel


def test_wide_boxes_are_columns_not_rows():
    mask = union_map([[0, 0, 1, 0.5]], (2, 6))
    assert mask.tolist() == [[1] * 6, [0] * 6]


def test_normalise_and_median():
    assert normalise_map([[2.0, 4.0], [3.0, 6.0]]).tolist() == [[0, 0.5], [0.25, 1]]
    assert normalise_map(np.full((2, 2), 3.0)).tolist() == [[3, 3], [3, 3]]
    assert median_threshold([[1.0, 4.0], [3.0, 2.0]]) == 3
    values = np.random.RandomState(5).rand(224, 224)
    assert (values >= median_threshold(values)).mean() == 0.5


def test_resized_corners_stay():
    values = np.random.RandomState(6).rand(7, 7)
    large = resize_map(values, (224, 224))
    assert large[::223, ::223].tolist() == pytest.approx(values[::6, ::6])


def test_inside_share_by_hand():
    maps = np.zeros((3, 4, 4))
    maps[0, 1, 2] = maps[1, 0, 0] = maps[2, 3, 3] = 1
    boxes = [[0.5, 0.25, 0.75, 0.5], [0.5, 0.5, 1, 1], [0, 0, 1, 1]]
    share, chance = inside_share(torch.as_tensor(maps), boxes)
    assert share == pytest.approx(2 / 3)
    assert chance == pytest.approx((1 / 16 + 1 / 4 + 1) / 3)


def test_a_flat_map_does_as_well_as_chance():
    boxes = [[0, 0, 0.5, 0.5], [0.25, 0.5, 1, 1]]
    share, chance = inside_share(np.full((2, 8, 8), 0.3), boxes)
    assert share == pytest.approx(chance)
    for wrong in (np.zeros((0, 4, 4)), np.zeros((3, 4, 4)), np.full((2, 4, 4), np.nan)):
        with pytest.raises(ValueError):
            inside_share(wrong, boxes[: len(wrong)])


def test_the_released_second_evaluation_resizes_bicubic_without_aligned_corners() -> None:
    small = np.random.default_rng(0).random((7, 7))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(small)[None, None], size=(224, 224), mode="bicubic", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_array_equal(resize_map(small, (224, 224), filter="bicubic"), expected)
    boxes = np.zeros((224, 224))
    boxes[40:90, 30:150] = 1
    both = [evaluate_ciou([small], [boxes], filter=name)["mean"] for name in ("bilinear", "bicubic")]
    assert both[0] != both[1] == pytest.approx(both[0], abs=0.05)
