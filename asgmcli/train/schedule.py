"""Optimizers and learning rates as recipes name them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from asgmcli.recipe.training import Optimizer


def make_optimizer(modules: Iterable[nn.Module], settings: Optimizer) -> torch.optim.Optimizer:
    """SGD (Nesterov), Adam or AdamW over the modules' trainable parameters.

    Weight decay acts on every parameter under SGD and Adam, as SVFormer's and FNAC's do (a part of the gradient), and
    on matrices alone under AdamW, as is usual for transformers.
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
    if settings.kind == "adam":
        return torch.optim.Adam(parameters, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay)
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, fused=True)  # one pass over memory, on a CPU too


def learning_rate(settings: Optimizer, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    `steps` multiplies by gamma at each milestone (fractions of the run), `cosine` falls to 0, both after a linear rise
    over `warmup_steps`.
    """
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.schedule == "cosine":
        progress = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * progress))
    if settings.schedule == "steps":
        return settings.lr * settings.gamma ** sum(step >= m * steps for m in settings.milestones)
    return settings.lr
