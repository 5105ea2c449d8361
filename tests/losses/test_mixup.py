import pytest
import torch

from asgmcli.losses.mixup import mixup, mixup_target


def random_batch(seed, batch=6, classes=4):
    generator = torch.Generator().manual_seed(seed)
    soft = [torch.randn(batch, classes, generator=generator).softmax(dim=1) for _ in range(2)]
    passes = [torch.randint(2, (batch,), generator=generator).float() for _ in range(2)]
    return soft, passes, torch.randn(batch, classes, generator=generator), torch.rand(batch, generator=generator)


def test_target_by_hand():
    a, b = torch.tensor([[0.6, 0.4], [0.6, 0.4]]), torch.tensor([[0.1, 0.9], [0.3, 0.7]])
    target, mask = mixup_target(a, b, torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.25)
    # First: one-hot A, soft B. Second: soft A, one-hot B.
    torch.testing.assert_close(target, torch.tensor([[0.25 + 0.075, 0.675], [0.15, 0.1 + 0.75]]))
    torch.testing.assert_close(mask, torch.tensor([0.25, 0.75]))


def test_soft_targets_keep_the_mask():
    (a, b), (passes_a, passes_b), _, weights = random_batch(7)
    target, mask = mixup_target(a, b, passes_a, passes_b, weights, soft=True)
    torch.testing.assert_close(target, weights[:, None] * a + (1 - weights[:, None]) * b)
    assert torch.equal(mask, mixup_target(a, b, passes_a, passes_b, weights)[1])


def test_loss_by_hand():
    logits, target = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    # Squared differences (1, 4) and (.25, .25): means 2.5 and .25, masks .5 and 1, mean over two clips.
    assert mixup(logits, target, torch.tensor([0.5, 1.0])).item() == pytest.approx((1.25 + 0.25) / 2)
    # Softmax of equal logits is the target of the second clip.
    assert mixup(logits, target, torch.tensor([0.0, 1.0]), space="probabilities").item() == pytest.approx(0)


@pytest.mark.parametrize("space", ["logits", "probabilities"])
@pytest.mark.parametrize("per_clip", [False, True])
def test_against_the_equation(space, per_clip):
    (a, b), (passes_a, passes_b), logits, weights = random_batch(3)
    weight = weights if per_clip else 0.3
    target, mask = mixup_target(a, b, passes_a, passes_b, weight)
    total = 0.0
    for i in range(len(a)):
        share = float(weights[i]) if per_clip else 0.3
        mixed = torch.zeros(4)
        for part, clip, passes in ((share, a[i], passes_a[i]), (1 - share, b[i], passes_b[i])):
            if passes:
                mixed[int(clip.argmax())] += part
            else:
                mixed += part * clip
        said = logits[i] if space == "logits" else torch.exp(logits[i]) / torch.exp(logits[i]).sum()
        counts = share * float(passes_a[i]) + (1 - share) * float(passes_b[i])
        total += counts * float(sum((mixed[k] - said[k]) ** 2 for k in range(4))) / 4
    assert mixup(logits, target, mask, space=space).item() == pytest.approx(total / len(a), rel=1e-5)


def test_weight_one_and_zero_give_the_clips_back():
    (a, b), (passes_a, passes_b), _, _ = random_batch(4)
    none = torch.zeros(len(a))
    target, mask = mixup_target(a, b, none, passes_b, 1.0)
    assert torch.equal(target, a)
    assert torch.equal(mask, none)
    target, mask = mixup_target(a, b, passes_a, none, torch.zeros(len(a)))
    assert torch.equal(target, b)
    assert torch.equal(mask, none)


def test_targets_are_distributions_and_arguments_stay():
    (a, b), (passes_a, passes_b), _, weights = random_batch(5)
    before = a.clone()
    target, mask = mixup_target(a, b, passes_a, passes_b, weights)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(len(a)))
    assert 0 <= mask.min() <= mask.max() <= 1
    assert torch.equal(a, before)
    swapped, swapped_mask = mixup_target(b, a, passes_b, passes_a, 1 - weights)
    torch.testing.assert_close(swapped, target)
    torch.testing.assert_close(swapped_mask, mask)


def test_refuses_another_comparison():
    with pytest.raises(ValueError, match="space must be"):
        mixup(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1), space="scores")
