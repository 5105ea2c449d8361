import math

import pytest
import torch

from asgmcli.metrics.pseudo_label import pseudo_label_quality


def test_by_hand():
    mask = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])
    labels = torch.tensor([0, 1, 2, 2, 2])
    truth = torch.tensor([0, 2, 2, -1, 0])
    quality = pseudo_label_quality(mask, labels, truth)
    assert quality["used"].item() == pytest.approx(60)
    # Two used labels have a known truth, one of them is right; unused and unknown clips do not count.
    assert quality["accuracy"].item() == pytest.approx(50)


def test_unknown_truth_gives_no_accuracy():
    mask, labels = torch.tensor([1.0, 0.0]), torch.tensor([0, 0])
    for truth in (None, torch.tensor([-1, 0])):
        quality = pseudo_label_quality(mask, labels, truth)
        assert quality["used"].item() == 50
        assert math.isnan(quality["accuracy"].item())
    assert math.isnan(pseudo_label_quality(torch.zeros(2), labels, labels)["accuracy"].item())


def test_against_loops():
    generator = torch.Generator().manual_seed(1)
    mask = (torch.rand(50, generator=generator) < 0.6).float()
    labels, truth = torch.randint(4, (50,), generator=generator), torch.randint(-1, 4, (50,), generator=generator)
    used = [(a, b) for m, a, b in zip(mask.tolist(), labels.tolist(), truth.tolist(), strict=True) if m]
    known = [(a, b) for a, b in used if b >= 0]
    quality = pseudo_label_quality(mask, labels, truth)
    assert quality["used"].item() == pytest.approx(2 * len(used))
    assert quality["accuracy"].item() == pytest.approx(100 * sum(a == b for a, b in known) / len(known))
