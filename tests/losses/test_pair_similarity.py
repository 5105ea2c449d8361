from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.losses.pair_similarity import pair_similarity_loss, pair_target
from tests.golden import ave_inputs as inputs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ave_baselines.npz")


def test_the_released_loss() -> None:
    target = np.abs(inputs.array(565, 3, 10))
    target = torch.from_numpy(target / target.sum(1, keepdims=True))
    loss = pair_similarity_loss(torch.from_numpy(GOLDEN["psp_similarity_0.099"]), target)
    assert float(loss) == pytest.approx(float(GOLDEN["pair_loss"]), abs=1e-6)


def test_by_hand() -> None:
    similarity = torch.tensor([[0.6, 0.2, -0.9, 0.0]])  # shares .75, .25, 0, 0
    target = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert float(pair_similarity_loss(similarity, target)) == pytest.approx(2 * 0.25**2 / 4)
    assert float(pair_similarity_loss(-similarity.abs(), torch.zeros(1, 4))) == 0


def test_targets_are_made_anew_and_a_video_without_event_has_none() -> None:
    labels = torch.tensor([[2, 0, 0, 2], [2, 2, 2, 2], [1, 1, -1, -1]])
    for _ in range(3):
        assert pair_target(labels, 2).tolist() == [[0, 0.5, 0.5, 0], [0] * 4, [0.5, 0.5, 0, 0]]
