"""Random generators of the training step: a function of (seed, step), so that a resumed run draws the same."""

from __future__ import annotations

import torch

from asgmcli.data.split import hashed


def seed_everything(seed: int) -> None:
    """Set torch's global state, which initialises weights and drives dropout."""
    torch.manual_seed(seed)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of masks, λ and partners of step `step`."""
    return torch.Generator().manual_seed(hashed(seed, f"step:{step}") >> 1)
