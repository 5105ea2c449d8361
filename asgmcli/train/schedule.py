"""Optimizers and learning rates as recipes name them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from asgmcli.recipe.training import Optimizer
from asgmcli.train.lars import LARS


def make_optimizer(modules: Iterable[nn.Module], settings: Optimizer) -> torch.optim.Optimizer:
    """Build SGD (Nesterov), Adam, AdamW or LARS over the modules' trainable parameters.

    Weight decay acts on every parameter under SGD and Adam, as SVFormer's and FNAC's do (as part of the gradient), and
    on matrices only under AdamW, as is usual for transformers, and LARS. A group's `rate` is its share of the learning
    rate: `set_rates` has it.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    if settings.kind == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.momentum > 0,
            weight_decay=settings.weight_decay,
        )
    betas = (settings.momentum, 0.999)
    if settings.kind == "adam":  # fused, as AdamW below: one pass over memory, on a CPU too
        return torch.optim.Adam(parameters, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay, fused=True)
    matrices, vectors = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if settings.kind == "lars":
        groups[1] |= {"rate": (settings.bias_lr or settings.lr) / settings.lr}
        return LARS(
            [group for group in groups if group["params"]],
            settings.lr,
            momentum=settings.momentum,
            trust=settings.trust,
        )
    return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group of parameters: `rate`, times the group's own share of it, if it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)


def learning_rate(settings: Optimizer, step: int, steps: int, epoch: int = 0) -> float:
    """Return the learning rate of step `step` (from 0) of `steps`, in epoch `epoch` (from 0).

    `steps` multiplies by gamma at each milestone (fractions of the run), `epochs` every so many epochs, `cosine` falls
    to a share of it, all after a linear rise over `warmup_steps`.
    """
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.schedule == "cosine":
        progress = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
        height = 0.5 * (1 + math.cos(math.pi * progress))
        return settings.lr * (settings.final + (1 - settings.final) * height)
    if settings.schedule == "epochs":
        return settings.lr * settings.gamma ** (epoch // settings.decay_epochs)
    if settings.schedule == "steps":
        return settings.lr * settings.gamma ** sum(step >= m * steps for m in settings.milestones)
    return settings.lr
