"""Random generators of the training step: a function of (seed, step), so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from asgmcli.data.split import hashed
from asgmcli.train.checkpoint import State


def seed_everything(seed: int) -> None:
    """Set torch's global state, which initialises weights and drives dropout."""
    torch.manual_seed(seed)


@contextmanager
def forked(seed: int) -> Iterator[None]:
    """Seed torch's global state for the block, such as one that draws weights; afterwards it is as before."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def random_state(device: torch.device) -> dict[str, object]:
    """Return torch's global state: `random` of the CPU, and `random_cuda`, a list for the GPUs, if `device` is one."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def restore_random_state(state: State, device: torch.device) -> None:
    """Restore a state that `random_state` returned.

    Raises:
        KeyError, TypeError, RuntimeError: it is not such a state.
    """
    torch.set_rng_state(state["random"])
    cuda = state["random_cuda"]
    if device.type == "cuda" and cuda:
        torch.cuda.set_rng_state(cuda[0], device)


def seed_rank(seed: int, rank: int, step: int) -> None:
    """Seed torch's global state for a step of one of several ranks; dropout differs by rank, and no state is saved."""
    torch.manual_seed(hashed(seed, f"rank:{rank}:{step}") >> 1)


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """Return the generator of masks, λ and partners of step `step`."""
    own = f":rank:{rank}" if rank else ""
    return torch.Generator().manual_seed(hashed(seed, f"step:{step}{own}") >> 1)
