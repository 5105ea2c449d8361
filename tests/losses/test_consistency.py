"""The mixed target of an unlabelled frame."""

from __future__ import annotations

import numpy as np
import torch

from asgmcli.losses.consistency import mixed_target
from tests.avs_golden import golden, logits, masks


def test_it_equals_ufes_target() -> None:
    wanted = golden("unsupervised")
    found = mixed_target(
        logits(102, masks(101, 4, 48, 48, 0)), torch.as_tensor(wanted["partner"]), torch.as_tensor(wanted["box"]).bool()
    )
    np.testing.assert_allclose(found.numpy(), wanted["target"], atol=1e-6)


def test_no_box_gives_the_own_mask_and_a_whole_box_the_partners() -> None:
    weak = torch.tensor([[[0.0, 4.0]], [[-4.0, 1.0]]])
    partner, none = torch.tensor([1, 0]), torch.zeros(2, 1, 2, dtype=torch.bool)
    assert torch.equal(mixed_target(weak, partner, none), weak.sigmoid())
    assert torch.equal(mixed_target(weak, partner, ~none), weak.sigmoid()[partner])
