"""The discriminator's loss against the released one's, and the strength of the reversal."""

from __future__ import annotations

import math

import numpy as np
import torch

from asgmcli.losses.adversarial import modality_loss, reversal_strength
from tests.golden import llp_inputs


def test_it_is_the_released_loss() -> None:
    g = torch.from_numpy(llp_inputs.probabilities(45, 6, 10, 2))
    with np.load(llp_inputs.HERE / "llp_losses.npz") as known:
        expected = float(known["adversarial"])
    assert math.isclose(modality_loss(g).item(), expected, rel_tol=1e-5)


def test_picture_is_one_and_sound_is_zero() -> None:
    right = torch.zeros(2, 10, 2)
    right[..., 1] = 1
    assert modality_loss(right).item() < 1e-6
    assert math.isclose(modality_loss(1 - right).item(), -math.log(1e-7), rel_tol=0.02)
    assert math.isclose(
        modality_loss(torch.full((2, 10, 2), 0.25)).item(), -(math.log(0.75) + math.log(0.25)) / 2, rel_tol=1e-6
    )


def test_the_reversal_grows_from_0_to_1() -> None:
    assert reversal_strength(0) == 0
    assert math.isclose(reversal_strength(0.1), math.tanh(0.5))
    assert reversal_strength(1) > 0.9999
