"""From a batch to the gradients of one step; the training loop and `asgm bench step` take the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from asgmcli.data.loader import Batch
from asgmcli.ranks.exchange import average_gradients
from asgmcli.recipe.training import Train


def compute_gradients(
    train_step: Callable[[Any, Batch], dict[str, Tensor]],
    state: Any,
    batch: Batch,
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
    return terms, torch.nn.utils.clip_grad_norm_(reached, settings.optimizer.clip_norm or float("inf"))
