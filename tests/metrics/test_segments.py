from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from asgmcli.metrics.segments import confusion, segment_accuracy, segment_metrics
from tests.golden import ave_inputs as inputs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ave_accuracy.npz")


def test_the_released_accuracy_with_its_ties() -> None:
    scores, labels = (torch.from_numpy(part) for part in inputs.scores(571, 40))
    assert segment_accuracy(scores, labels) == float(GOLDEN["accuracy"])
    np.testing.assert_array_equal(confusion(scores, labels), GOLDEN["confusion"])


def test_segments_beyond_the_clip_do_not_count() -> None:
    logits = torch.eye(3)[torch.tensor([[0, 1, 2, 2]])]
    labels = torch.tensor([[0, 2, -1, -1]])
    assert segment_accuracy(logits, labels) == 0.5
    assert confusion(logits, labels).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="no segment counts"):
        segment_accuracy(logits, torch.full((1, 4), -1))


def test_what_stands_beside_the_accuracy_by_hand() -> None:
    # Two classes and background: 10 segments of class 0, none of class 1, 10 of background.
    table = torch.tensor([[6, 1, 3], [0, 0, 0], [2, 0, 8]])
    found = segment_metrics(table)
    assert found["accuracy"] == pytest.approx(70)
    assert found["event_accuracy"] == pytest.approx(60)
    assert found["background_accuracy"] == pytest.approx(80)
    assert found["class_accuracy"] == pytest.approx(70)
    assert found["always_background"] == pytest.approx(50)
    assert found["right_event"] == pytest.approx(50)
    # 6 right; 3 named and not so (1 + 2); 4 not found: 12 / (12 + 3 + 4).
    assert found["event_f1"] == pytest.approx(100 * 12 / 19)


def test_f1_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    true, predicted = random.integers(0, 5, 400), random.integers(0, 5, 400)
    logits = torch.eye(5)[torch.from_numpy(predicted)][None]
    found = segment_metrics(confusion(logits, torch.from_numpy(true)[None]))
    expected = f1_score(true, predicted, labels=[0, 1, 2, 3], average="micro")
    assert found["event_f1"] == pytest.approx(100 * expected)


def test_without_background_or_events() -> None:
    assert "background_accuracy" not in segment_metrics(torch.tensor([[2, 1], [0, 0]]))
    found = segment_metrics(torch.tensor([[0, 0], [0, 4]]))
    assert "event_accuracy" not in found
    assert found["event_f1"] == found["accuracy"] == 100
