"""A step's random numbers."""

from __future__ import annotations

import torch

from asgmcli.train.seed import step_generator


def test_step_generators_are_a_function_of_seed_and_step() -> None:
    draws = [torch.rand(1, generator=step_generator(seed, step)).item() for seed in (0, 1) for step in (0, 1)]
    assert len(set(draws)) == 4
    assert torch.rand(1, generator=step_generator(0, 0)).item() == draws[0]
