"""Two pairs of layers that keep less for the backward pass: what is cheap to compute again is not stored.

A linear layer keeps its input for the gradient of its weight. Where that input is a LayerNorm's or a GELU's output it
costs two passes over memory to make again, while the products beside it cost hundreds of operations a number. Left out
are 7 of the 22 token-sized tensors that a divided block otherwise holds, and the results are the same bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def norm_linear(x: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.linear(norm(x), weight, bias)`, [..., D] -> [..., E], that stores `x` and not its normalised copy."""
    if not torch.is_grad_enabled():
        return F.linear(norm(x), weight, bias)
    result: Tensor = _NormLinear.apply(x, norm.weight, norm.bias, weight, bias, norm.eps, _product_type(x))
    return result


def gelu_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.linear(F.gelu(x), weight, bias)`, [..., E] -> [..., D], that stores `x` alone."""
    if not torch.is_grad_enabled():
        return F.linear(F.gelu(x), weight, bias)
    result: Tensor = _GeluLinear.apply(x, weight, bias, _product_type(x))
    return result


def _product_type(x: Tensor) -> torch.dtype:
    """The type that matrix products have here: autocast's where it is on."""
    device = arithmetic(x)
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def arithmetic(x: Tensor) -> str:
    """Return the type of the device whose arithmetic `x` has; a tensor without content counts as a CPU's."""
    return "cpu" if x.device.type == "meta" else x.device.type


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        weight: Tensor,
        bias: Tensor,
        epsilon: float,
        dtype: torch.dtype,
    ) -> Tensor:
        with torch.autocast(arithmetic(x), enabled=False):
            normal, mean, scale = torch.native_layer_norm(x, gamma.shape, gamma, beta, epsilon)
            ctx.save_for_backward(x, gamma, beta, weight, mean, scale)
            ctx.dtype = dtype
            return F.linear(normal.to(dtype), weight.to(dtype), bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, beta, weight, mean, scale = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        for_weight = None
        if ctx.needs_input_grad[3]:
            normal = torch.addcmul(beta, (x - mean) * scale, gamma)
            for_weight = (rows.T @ normal.to(ctx.dtype).view(-1, normal.shape[-1])).to(weight.dtype)
            del normal
        for_bias = rows.sum(0, dtype=weight.dtype)
        into = (rows @ weight.to(ctx.dtype)).view(x.shape).to(x.dtype)
        mask = list(ctx.needs_input_grad[:3])
        for_x, for_gamma, for_beta = torch.ops.aten.native_layer_norm_backward(
            into, x, gamma.shape, mean, scale, gamma, beta, mask
        )
        return for_x, for_gamma, for_beta, for_weight, for_bias, None, None


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        with torch.autocast(arithmetic(x), enabled=False):
            ctx.save_for_backward(x, weight)
            ctx.dtype = dtype
            return F.linear(F.gelu(x).to(dtype), weight.to(dtype), bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        into = (rows @ weight.to(ctx.dtype)).view(x.shape).to(x.dtype)
        for_x = torch.ops.aten.gelu_backward(into, x)
        del into
        active = F.gelu(x).to(ctx.dtype).view(-1, x.shape[-1])
        for_weight = (rows.T @ active).to(weight.dtype)
        return for_x, for_weight, rows.sum(0, dtype=weight.dtype), None
