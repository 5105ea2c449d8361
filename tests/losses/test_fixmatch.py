import math

import pytest
import torch

from asgmcli.losses.fixmatch import FixedThreshold, NoThreshold, consistency, sharpened


def test_selects_from_the_threshold_on():
    probabilities = torch.tensor([[0.5, 0.5], [0.3, 0.7], [0.61, 0.39], [0.25, 0.75]])
    assert FixedThreshold(0.7).select(torch.arange(4), probabilities).tolist() == [0, 1, 0, 1]
    assert FixedThreshold(0.5).select(torch.arange(4), probabilities).tolist() == [1, 1, 1, 1]


def test_half_precision_is_compared_in_full():
    # 0.6992 is the bfloat16 neighbour below 0.7: rounding the threshold instead would let it pass.
    probabilities = torch.tensor([[0.6992, 0.3008]], dtype=torch.bfloat16)
    assert FixedThreshold(0.7).select(torch.arange(1), probabilities).tolist() == [0]


def test_without_a_threshold_every_clip_passes():
    probabilities = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert NoThreshold().select(torch.arange(2), probabilities).tolist() == [1, 1]
    assert NoThreshold().state_dict() == {}


def test_sharpened_by_hand():
    # .2, .8 squared are .04, .64: 1/17 and 16/17; a temperature of 2 takes roots, .447 and .894.
    probabilities = torch.tensor([[0.2, 0.8], [0.5, 0.5], [0.0, 1.0]])
    assert sharpened(probabilities, 0.5)[0].tolist() == pytest.approx([1 / 17, 16 / 17])
    assert sharpened(probabilities, 2.0)[0].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert sharpened(probabilities, 0.5)[1:].tolist() == [[0.5, 0.5], [0.0, 1.0]]
    torch.testing.assert_close(sharpened(probabilities, 1.0), probabilities)


def test_soft_labels_by_hand():
    # Against (1/4, 3/4) from even odds the student pays log 2; from its target the target's own entropy.
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])
    target = torch.tensor([[0.25, 0.75], [0.25, 0.75]])
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert consistency(logits, target, torch.ones(2)).item() == pytest.approx((math.log(2) + entropy) / 2)
    assert consistency(logits, target, torch.tensor([0.0, 1.0])).item() == pytest.approx(entropy / 2)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan")])
def test_refuses_impossible_thresholds(threshold):
    with pytest.raises(ValueError, match="threshold"):
        FixedThreshold(threshold)


def test_state_is_empty_and_only_empty_loads():
    threshold = FixedThreshold(0.3)
    threshold.load_state_dict(threshold.state_dict())
    with pytest.raises(ValueError, match="labels"):
        threshold.load_state_dict({"labels": torch.zeros(3)})


def test_consistency_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0], [5.0, 0.0]])
    labels = torch.tensor([1, 0, 1])
    # -log 3/4, -log 1/2, and a masked clip that still counts in the mean over B = 3.
    expected = (math.log(4 / 3) + math.log(2)) / 3
    assert consistency(logits, labels, torch.tensor([1.0, 1.0, 0.0])).item() == pytest.approx(expected, rel=1e-6)


def test_consistency_against_the_equation():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, 5, generator=generator)
    labels = torch.randint(5, (7,), generator=generator)
    mask = torch.tensor([1.0, 0, 1, 1, 0, 0, 1])
    total = 0.0
    for row, label, counts in zip(logits.tolist(), labels.tolist(), mask.tolist(), strict=True):
        if counts:
            total -= math.log(math.exp(row[label]) / sum(math.exp(value) for value in row))
    assert consistency(logits, labels, mask).item() == pytest.approx(total / 7, rel=1e-5)


def test_masked_clips_have_no_gradient():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)
    mask = torch.tensor([1.0, 0.0, 0.0, 1.0])
    consistency(logits, torch.tensor([0, 1, 2, 0]), mask).backward()
    assert (logits.grad.abs().sum(dim=1) > 0).tolist() == [True, False, False, True]
    assert consistency(logits, torch.tensor([0, 1, 2, 0]), torch.zeros(4)).item() == 0
