import math

import pytest
import torch

from asgmcli.losses.cell_match import cell_match


def test_by_hand():
    # Two pictures of two cells in one dimension, sounds 1 and -1. Scores of the first: log(e^1 + e^0) and
    # log(e^-1 + e^0); of the second, whose cells are both 0: log 2 either way.
    cells = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]])
    sounds = torch.tensor([[1.0], [-1.0]])
    a, b, c = math.log(math.e + 1), math.log(1 / math.e + 1), math.log(2)
    pictures = (math.log(math.exp(a) + math.exp(b)) - a + math.log(2 * math.exp(c)) - c) / 2
    heard = (math.log(math.exp(a) + math.exp(c)) - a + math.log(math.exp(b) + math.exp(c)) - c) / 2
    assert cell_match(cells, sounds).item() == pytest.approx((pictures + heard) / 2, rel=1e-6)


def test_one_cell_that_matches_is_enough():
    sounds = 10 * torch.eye(4)
    cells = torch.zeros(4, 4, 3, 3)
    assert cell_match(cells, sounds).item() == pytest.approx(math.log(4))
    for clip in range(4):
        cells[clip, clip, clip % 3, 1] = 1.0
    assert cell_match(cells, sounds).item() < 0.01
    assert cell_match(cells.flip(0), sounds).item() > 5


def test_every_cell_has_a_gradient():
    torch.manual_seed(0)
    cells = torch.randn(3, 4, 2, 2, requires_grad=True)
    cell_match(cells, torch.randn(3, 4)).backward()
    assert cells.grad is not None
    assert bool((cells.grad.abs().amax(1) > 0).all())
