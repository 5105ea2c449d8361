"""The losses of parsing against the released step's, and by hand."""

from __future__ import annotations

import math

import numpy as np
import torch

from asgmcli.losses.weakly_supervised import parsing_losses, smoothed
from tests.golden import llp_inputs


def probabilities() -> list[torch.Tensor]:
    return [torch.from_numpy(llp_inputs.probabilities(seed, 6, 25)).requires_grad_() for seed in (41, 42, 43)]


def test_terms_and_gradients_are_the_released_ones() -> None:
    with np.load(llp_inputs.HERE / "llp_losses.npz") as file:
        known = dict(file)
    clip, audio, visual = probabilities()
    terms = parsing_losses(clip, audio, visual, torch.from_numpy(llp_inputs.clip_labels(44, 6)))
    for name, value in terms.items():
        assert abs(value.item() - float(known[name])) < 1e-5 * max(1, abs(float(known[name])))
    total = torch.stack(list(terms.values())).sum()
    assert abs(total.item() - float(known["han"])) < 1e-5 * float(known["han"])
    total.backward()  # type: ignore[no-untyped-call]
    for name, part in zip(("clip", "audio", "visual"), (clip, audio, visual), strict=True):
        assert part.grad is not None
        expected = known[f"grad/{name}"]
        assert np.abs(part.grad.numpy() - expected).max() < 2e-5 * max(1, np.abs(expected).max())


def test_by_hand() -> None:
    half, target = torch.full((2, 3), 0.5), torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    terms = parsing_losses(half, half, half, target)
    assert all(math.isclose(value.item(), math.log(2), rel_tol=1e-6) for value in terms.values())
    sure = parsing_losses(target, target, target, target, smoothing=(1.0, 0.9))
    assert sure["wsl"].item() < 1e-6
    # A share of .05 of every label is against a probability of 1 - 1e-7, or for one of 1e-7.
    assert math.isclose(sure["guided_visual"].item(), 0.05 * -math.log(1e-7), rel_tol=0.02)
    assert torch.allclose(smoothed(target, 0.9)[0], torch.tensor([0.95, 0.05, 0.05]))
