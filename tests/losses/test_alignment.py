import pytest
import torch

from asgmcli.losses.alignment import RATE, DistributionAlignment


def test_by_hand():
    align = DistributionAlignment(torch.tensor([0.5, 0.5]))
    # Mean .75, .25: halves over it are 2/3 and 2. (.9, .1) becomes .6, .2 and so 3/4, 1/4.
    first = align(torch.tensor([[0.9, 0.1], [0.6, 0.4]]))
    assert first.tolist() == [pytest.approx([0.75, 0.25]), pytest.approx([1 / 3, 2 / 3])]
    # The second batch's mean is .25, .75: the running one is even, and nothing changes.
    second = torch.tensor([[0.1, 0.9], [0.4, 0.6]])
    torch.testing.assert_close(align(second), second)
    assert align.state_dict()["mean"].tolist() == pytest.approx([0.5, 0.5])


def test_answers_with_the_wanted_shares_stay():
    probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])
    align = DistributionAlignment(probabilities.mean(0))
    for _ in range(3):
        torch.testing.assert_close(align(probabilities), probabilities)


def test_a_batch_counts_a_hundredth_at_last():
    align = DistributionAlignment(torch.tensor([0.5, 0.5]))
    for _ in range(200):
        align(torch.tensor([[1.0, 0.0]]))
    align(torch.tensor([[0.0, 1.0]]))
    assert align.state_dict()["mean"].tolist() == pytest.approx([1 - RATE, RATE])


def test_a_class_that_was_never_answered_is_no_division_by_zero():
    aligned = DistributionAlignment(torch.tensor([0.5, 0.5]))(torch.tensor([[1.0, 0.0]]))
    assert aligned.tolist() == [[1.0, 0.0]]


def test_the_state_goes_on_where_it_was():
    one, other = (DistributionAlignment(torch.tensor([0.3, 0.7])) for _ in range(2))
    batches = torch.rand(4, 5, 2, generator=torch.Generator().manual_seed(0)).softmax(2)
    for batch in batches[:3]:
        one(batch)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(batches[3]), other(batches[3]))
    with pytest.raises(ValueError, match="2 classes, this run has 3"):
        DistributionAlignment(torch.ones(3) / 3).load_state_dict(one.state_dict())
