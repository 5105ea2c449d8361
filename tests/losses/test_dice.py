"""AVSegFormer's mask loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asgmcli.losses.consistency import mixed_target
from asgmcli.losses.dice import dice
from tests.avs_golden import array, golden, logits, masks, spread


def test_it_equals_the_released_loss_and_the_printed_one() -> None:
    wanted, truth = golden("losses"), masks(91, 4, 32, 32, 3)
    given, target = logits(92, truth).requires_grad_(), torch.as_tensor(truth).float()
    loss = dice(given, target)
    loss.backward()
    assert given.grad is not None
    assert float(loss.detach()) == pytest.approx(float(wanted["dice"]), abs=1e-5)
    assert spread(given.grad, wanted["dice_grad"]) < 1e-4
    assert float(dice(given.detach(), target, squared=False)) == pytest.approx(float(wanted["dice_printed"]), abs=1e-5)


def test_with_the_mask_features_term_it_is_avsegformers_loss() -> None:
    wanted, truth = golden("losses"), masks(91, 4, 32, 32, 3)
    target, feature = torch.as_tensor(truth).float(), array(99, 4, 16, 8, 8).requires_grad_()
    mean = F.interpolate(feature.mean(1, keepdim=True), (32, 32), mode="bilinear", align_corners=False)[:, 0]
    loss = dice(logits(92, truth), target) + 0.1 * dice(mean, target)
    loss.backward()
    assert feature.grad is not None
    assert float(loss.detach()) == pytest.approx(float(wanted["avsegformer"]), abs=1e-5)
    assert spread(feature.grad[:, :4], wanted["avsegformer_grad_feature"]) < 1e-4


def test_against_a_soft_target() -> None:
    wanted, truth = golden("unsupervised"), masks(101, 4, 48, 48, 0)
    box = torch.as_tensor(wanted["box"]).bool()
    target = mixed_target(logits(102, truth), torch.as_tensor(wanted["partner"]), box)
    assert float(dice(logits(103, truth), target)) == pytest.approx(float(wanted["dice"]), abs=1e-5)


def test_by_hand_with_pixels_left_out() -> None:
    given = torch.tensor([[[0.0, 0.0, 90.0]]])
    target = torch.tensor([[[1.0, 0.0, 0.0]]])
    counted = torch.tensor([[[True, True, False]]])
    assert float(dice(given, target, True, counted)) == pytest.approx(1 - 1 / (0.25 + 0.25 + 1 + 0.002))
    assert float(dice(given, target, False, counted)) == pytest.approx(1 - 1 / 2)
    # A frame is averaged with its own denominator, not the batch's.
    both = dice(torch.cat([given, given]), torch.cat([target, 0 * target]), False, torch.cat([counted, counted]))
    assert float(both) == pytest.approx((0.5 + 1) / 2)
