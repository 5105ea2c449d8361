"""TPAVI's mask loss."""

from __future__ import annotations

import math

import pytest
import torch

from asgmcli.losses.consistency import mixed_target
from asgmcli.losses.mask_bce import mask_bce
from tests.avs_golden import array, golden, logits, masks, spread


def test_it_equals_the_released_loss_with_its_gradient() -> None:
    truth = masks(91, 4, 32, 32, 3)
    given = logits(92, truth).requires_grad_()
    loss = mask_bce(given, torch.as_tensor(truth).float())
    loss.backward()
    assert given.grad is not None
    assert float(loss.detach()) == pytest.approx(float(golden("losses")["bce"]), abs=1e-5)
    assert spread(given.grad, golden("losses")["bce_grad"]) < 1e-4


def test_by_hand_with_pixels_left_out() -> None:
    given = torch.tensor([[[0.0, 2.0], [5.0, -5.0]]])
    target = torch.tensor([[[1.0, 0.25], [0.0, 1.0]]])
    counted = torch.tensor([[[True, True], [False, False]]])
    wanted = (math.log(2) + 0.25 * math.log1p(math.exp(-2)) + 0.75 * math.log1p(math.exp(2))) / 2
    assert float(mask_bce(given, target, counted)) == pytest.approx(wanted, rel=1e-6)
    assert float(mask_bce(given, target, torch.zeros_like(counted))) == 0.0


def test_ufes_unsupervised_loss_with_and_without_padding() -> None:
    wanted = golden("unsupervised")
    truth = masks(101, 4, 48, 48, 0)
    partner, box, valid = (
        torch.as_tensor(wanted["partner"]),
        *(torch.as_tensor(wanted[key]).bool() for key in ("box", "valid")),
    )
    target = mixed_target(logits(102, truth), partner, box)
    strong = logits(103, truth).requires_grad_()
    loss = mask_bce(strong, target)
    loss.backward()
    assert strong.grad is not None
    assert float(loss.detach()) == pytest.approx(float(wanted["loss_reference"]), abs=1e-5)
    assert spread(strong.grad, wanted["grad_reference"]) < 1e-4
    counted = torch.where(box, valid[partner], valid)
    assert torch.equal(counted, torch.as_tensor(wanted["valid_mixed"]).bool())
    assert float(mask_bce(strong.detach(), target, counted)) == pytest.approx(float(wanted["loss_masked"]), abs=1e-5)


def test_all_counted_is_the_plain_loss() -> None:
    given, target = array(1, 3, 5, 4), array(2, 3, 5, 4).sigmoid()
    torch.testing.assert_close(mask_bce(given, target, torch.ones(3, 5, 4, dtype=torch.bool)), mask_bce(given, target))
