"""The grounding loss against the released one, a slow reference, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from asgmcli.losses.grounding import Kind, grounding_loss
from tests.golden import llp_inputs


def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    audio, visual = (torch.from_numpy(part) for part in llp_inputs.embeddings(53, 4, 24))
    return audio, visual, torch.from_numpy(llp_inputs.pairs(54, 4))


@pytest.mark.parametrize("kind", ["uni", "cross", "multi"])
def test_it_is_the_released_loss(kind: Kind) -> None:
    with np.load(llp_inputs.HERE / "llp_grounding.npz") as file:
        known = dict(file)
    audio, visual, truth = case()
    whole = grounding_loss(audio, visual, truth, kind)
    assert math.isclose(whole.item(), float(known[f"all_{kind}"]), abs_tol=1e-5)
    other = grounding_loss(audio, visual, truth, kind, positive=0.8, negative=0.3)
    assert math.isclose(other.item(), float(known[f"all_other_{kind}"]), abs_tol=1e-5)
    if kind != "multi":
        one = [grounding_loss(audio, visual, truth, kind, anchors=torch.tensor([i])).item() for i in range(10)]
        assert np.allclose(one, known[kind], atol=1e-5)
        assert math.isclose(np.mean(one), whole.item(), abs_tol=1e-5)


def test_a_slow_reference_gives_the_same() -> None:
    audio, visual, truth = case()
    total = 0.0
    for one, other in ((visual, audio), (audio, visual)):
        costs = []
        for clip in range(len(audio)):
            for i in range(10):
                for j in range(10):
                    s = torch.cosine_similarity(one[clip, i], other[clip, j], dim=0).item()
                    costs.append(max(0.0, 0.6 - s) if truth[clip, i, j] else max(0.0, s - 0.2))
        total += float(np.mean(costs))
    assert math.isclose(grounding_loss(audio, visual, truth, "cross", 0.6, 0.2).item(), total, abs_tol=1e-5)


def test_equal_seconds_of_one_scene_cost_nothing() -> None:
    same = torch.ones(1, 10, 4)
    assert grounding_loss(same, same, torch.ones(1, 10, 10, dtype=torch.bool), "multi").item() == 0
    apart = grounding_loss(same, same, torch.zeros(1, 10, 10, dtype=torch.bool), "multi")
    assert math.isclose(apart.item(), 4 * 0.3, rel_tol=1e-5)
