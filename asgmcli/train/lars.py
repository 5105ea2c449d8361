"""LARS (You et al., 2017) as Barlow Twins has it: each matrix's step in proportion to the matrix itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """SGD with momentum, whose step of a matrix is `trust` |p| / |u| times as long, u = gradient + decay * p.

    The decay is added before the norms are taken; where one of them is 0 the step is the plain one. Tensors of one
    dimension (biases, norms) take plain momentum, without decay.

    Args:
        params: parameters, or groups with a rate of their own each.
        lr: learning rate of groups without one.
        momentum: share of the last update that is kept.
        weight_decay: of matrices.
        trust: trust coefficient.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust: float = 1e-3,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        update = parameter.grad
        assert update is not None
        if parameter.ndim > 1:
            update = update.add(parameter, alpha=group["weight_decay"])
            norm, length = parameter.norm(), update.norm()
            ratio = group["trust"] * norm / length
            update = update * torch.where((norm > 0) & (length > 0), ratio, torch.ones_like(ratio))
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].mul_(group["momentum"]).add_(update)
        parameter.add_(state["momentum"], alpha=-group["lr"])
