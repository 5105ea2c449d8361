"""Compute the gradients of one step from a batch, for the training loop and `asgm bench step` alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from asgmcli.ranks.exchange import average_gradients
from asgmcli.recipe.training import Train

S = TypeVar("S")
B = TypeVar("B")


def compute_gradients(
    train_step: Callable[[S, B], dict[str, Tensor]],
    state: S,
    batch: B,
    optimizer: torch.optim.Optimizer,
    settings: Train,
) -> tuple[dict[str, Tensor], Tensor]:
    """Run a task's step on `batch` and leave the gradients in the parameters, averaged over ranks, then
    clipped; nothing is updated.

    Args:
        train_step: the task's.
        state: the task's.
        batch: on the device of the parameters.
        optimizer: holds the parameters.
        settings: precision and clipping.

    Returns:
        The step's terms, and the gradient's norm before clipping.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    optimizer.zero_grad(set_to_none=True)  # before the forward pass, which then has their memory
    with torch.autocast(parameters[0].device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
        terms = train_step(state, batch)
    terms["loss"].backward()
    reached = [parameter for parameter in parameters if parameter.grad is not None]
    average_gradients(reached)
    norm = get_total_norm([parameter.grad for parameter in reached if parameter.grad is not None])
    if settings.optimizer.clip_norm:
        clip_grads_with_norm_(reached, settings.optimizer.clip_norm, norm)
    return terms, norm
