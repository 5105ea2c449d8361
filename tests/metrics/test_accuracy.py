import math

import numpy as np
import pytest
import torch

from asgmcli.metrics.accuracy import confusion_matrix, per_class, top_k


def random_scores(seed, clips=60, classes=7):
    random = np.random.RandomState(seed)
    return random.standard_normal((clips, classes)), random.randint(0, classes, clips)


def slow_top_k(scores, labels, k):
    hits = 0
    for row, label in zip(scores, labels, strict=True):
        best = sorted(range(len(row)), key=lambda c: -row[c])[:k]
        hits += int(label) in best
    return 100 * hits / len(labels)


def test_by_hand():
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])
    labels = torch.tensor([1, 1, 2, 1])
    assert top_k(scores, labels) == pytest.approx(50)
    assert top_k(scores, labels, 2) == pytest.approx(75)
    assert confusion_matrix(scores, labels).tolist() == [[0, 0, 0], [2, 1, 0], [0, 0, 1]]
    classes = per_class(scores, labels).tolist()
    assert math.isnan(classes[0])
    assert classes[1:] == pytest.approx([100 / 3, 100])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_against_sorting(k):
    scores, labels = random_scores(1)
    assert top_k(scores, labels, k) == slow_top_k(scores, labels, k)
    assert top_k(torch.as_tensor(scores), torch.as_tensor(labels), k) == top_k(scores, labels, k)


def test_percentages_are_not_rounded_to_single_precision():
    scores = torch.eye(10)
    labels = torch.tensor([0, *range(2, 10), 1])
    assert [top_k(scores, labels), top_k(scores[:7], labels[:7])] == [10.0, 100 / 7]


def test_metrics_agree_with_each_other():
    scores, labels = random_scores(2)
    matrix = confusion_matrix(scores, labels)
    assert matrix.sum(dim=1).tolist() == np.bincount(labels, minlength=7).tolist()
    assert 100 * matrix.trace().item() / len(labels) == pytest.approx(top_k(scores, labels), abs=1e-4)
    weights = matrix.sum(dim=1) / matrix.sum()
    assert (per_class(scores, labels) * weights).nansum().item() == pytest.approx(top_k(scores, labels), abs=1e-4)


def test_more_than_all_classes_is_everything():
    scores, labels = random_scores(3, classes=3)
    assert top_k(scores, labels, 3) == top_k(scores, labels, 5) == 100


def test_equal_scores_are_not_all_hits():
    labels = torch.arange(4)
    assert top_k(torch.zeros(4, 4), labels) == pytest.approx(25)


@pytest.mark.parametrize(
    ("scores", "labels", "word"),
    [
        (torch.zeros(0, 3), torch.zeros(0), "needed"),
        (torch.zeros(2, 3), torch.zeros(3), "needed"),
        (torch.full((2, 3), float("nan")), torch.zeros(2), "NaN"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "0..2"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "0..2"),
    ],
)
def test_refuses_what_has_no_answer(scores, labels, word):
    for metric in (top_k, per_class, confusion_matrix):
        with pytest.raises(ValueError, match=word):
            metric(scores, labels)
    with pytest.raises(ValueError, match="k must"):
        top_k(torch.zeros(2, 3), torch.zeros(2), 0)
