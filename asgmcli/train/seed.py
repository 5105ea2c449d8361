"""Random generators of the training step: a function of (seed, step), so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from asgmcli.data.split import hashed


def seed_everything(seed: int) -> None:
    """Set torch's global state, which initialises weights and drives dropout."""
    torch.manual_seed(seed)


def random_state(device: torch.device, ranks: int = 1) -> dict[str, Any]:
    """torch's global state: `random` of the CPU, `random_cuda` of each GPU, with several `ranks` of this one's."""
    cuda: list[torch.Tensor] = []
    if device.type == "cuda":
        cuda = torch.cuda.get_rng_state_all() if ranks == 1 else [torch.cuda.get_rng_state(device)]
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def take_up_random_state(state: Mapping[str, Any], device: torch.device, ranks: int = 1) -> None:
    """Go on from a state that `random_state` gave.

    Raises:
        KeyError, TypeError, RuntimeError: it is none.
    """
    torch.set_rng_state(state["random"])
    cuda = state["random_cuda"]
    if device.type == "cuda" and cuda:
        torch.cuda.set_rng_state_all(cuda) if ranks == 1 else torch.cuda.set_rng_state(cuda[0], device)


def seed_rank(seed: int, rank: int, step: int) -> None:
    """Set torch's global state on a rank that is not the first, so that no two ranks drop the same."""
    torch.manual_seed(hashed(seed, f"rank:{rank}:{step}") >> 1)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of masks, λ and partners of step `step`."""
    return torch.Generator().manual_seed(hashed(seed, f"step:{step}") >> 1)
