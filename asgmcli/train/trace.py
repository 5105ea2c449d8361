"""The operations of a piece of work, and the tensors that it keeps, counted on tensors without content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count


@dataclass(frozen=True)
class TracedWork:
    """Floating-point operations (two a multiply-add), and bytes kept for the backward pass."""

    operations: int
    kept: int = 0


def trace(work: Callable[[], Tensor], precision: str, backward: bool = True) -> TracedWork:
    """Count `work` and, unless it is an evaluation, its backward pass.

    The storage behind a kept tensor counts once, however many operations keep it; parameters are counted elsewhere.
    """
    stored: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not (isinstance(tensor, nn.Parameter) or (tensor.is_leaf and tensor.requires_grad)):
            stored.setdefault(_address(tensor), tensor)
        return tensor

    lower = precision == "bf16"
    with (
        _OperationCounter() as counter,
        _AsOnACpu(lower),
        torch.autocast("cpu", torch.bfloat16, enabled=lower),
        torch.set_grad_enabled(backward),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        result = work()
        kept = sum(tensor.untyped_storage().nbytes() for tensor in stored.values())
        if backward:
            result.float().sum().backward()
    return TracedWork(counter.total, kept)


def _address(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage()._cdata
    return address


class _OperationCounter(TorchDispatchMode):
    """Count the floating-point operations of all that runs inside, by torch's own formulas."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch left it without types
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler, more than a second, for a block that nothing compiles."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        shaped = _SHAPED.get(func)
        result = func(*args, **(kwargs or {})) if shaped is None or kwargs else shaped(*args)
        count = _COUNTS.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


class _AsOnACpu(TorchFunctionMode):
    """Let tensors without content take a CPU's fused attention and, if `lower`, autocast's types in products."""

    def __init__(self, lower: bool) -> None:
        super().__init__()
        self.lower = lower

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.lower and func in _PRODUCTS:
            args = [arg.bfloat16() if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args]
        if func is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*args)[0]
        return func(*args, **(kwargs or {}))


_PRODUCTS = {
    F.linear,
    F.conv1d,
    F.conv2d,
    F.conv3d,
    F.scaled_dot_product_attention,
    torch.einsum,
    torch.matmul,
    torch.bmm,
    torch.mm,
    Tensor.matmul,
    Tensor.__matmul__,
}


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    operations: int = sdpa_flop_count(query.shape, key.shape, value.shape)
    return operations


def _attention_backward(_: Tensor, query: Tensor, key: Tensor, value: Tensor, *__: object, **___: object) -> int:
    """Count two products for each of the forward pass's; recomputation is not counted."""
    operations: int = 2 * sdpa_flop_count(query.shape, key.shape, value.shape)
    return operations


def _norm(x: Tensor, shape: list[int], *_: object) -> tuple[Tensor, Tensor, Tensor]:
    statistics = x.new_empty((*x.shape[: -len(shape)], *[1] * len(shape)))
    return _alike(x), statistics, _alike(statistics)


def _norm_backward(_: Tensor, x: Tensor, *rest: Tensor) -> tuple[Tensor | None, ...]:
    _, _, _, gamma, beta, mask = rest
    return tuple(_alike(y) if wanted else None for y, wanted in zip((x, gamma, beta), mask, strict=True))


def _alike(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor of the same shape whose axes follow each other in memory as those of `x`, without gaps."""
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    dense = x.new_empty([x.shape[axis] for axis in order], dtype=dtype)
    return dense.permute([order.index(axis) for axis in range(x.dim())])


def _pointwise(*parts: Any) -> Tensor:
    tensors = [part for part in parts if isinstance(part, Tensor)]
    shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    whole = next((tensor for tensor in tensors if tensor.shape == shape), tensors[0].new_empty(shape))
    return _alike(whole, dtype=torch.result_type(*parts[:2]))


def _quotient(*parts: Any) -> Tensor:
    result = _pointwise(*parts)
    return result if result.is_floating_point() else result.float()


def _cat(tensors: list[Tensor], dim: int = 0) -> Tensor:
    shape = list(max(tensors, key=Tensor.dim).shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors if tensor.dim() == len(shape))
    return tensors[0].new_empty(shape, dtype=_common(tensors))


def _stack(tensors: list[Tensor], dim: int = 0) -> Tensor:
    shape = list(tensors[0].shape)
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return tensors[0].new_empty(shape, dtype=_common(tensors))


def _common(tensors: list[Tensor]) -> torch.dtype:
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors))


def _mean(x: Tensor, dims: list[int] | None, keepdim: bool = False) -> Tensor:
    over = {dim % x.dim() for dim in dims or range(x.dim())}
    return x.new_empty([1 if at in over else size for at, size in enumerate(x.shape) if keepdim or at not in over])


# Shape rules for the most frequent operations: torch's own take three quarters of the time, and those of a sum or a
# product import its compiler, two seconds.
_SHAPED: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.native_layer_norm.default: _norm,
    torch.ops.aten.native_layer_norm_backward.default: _norm_backward,
    torch.ops.aten.gelu.default: _alike,
    torch.ops.aten.gelu_backward.default: lambda _, x: _alike(x),
    torch.ops.aten.addmm.default: lambda _, left, right: left.new_empty(left.shape[0], right.shape[1]),
    torch.ops.aten.mm.default: lambda left, right: left.new_empty(left.shape[0], right.shape[1]),
    torch.ops.aten.bmm.default: lambda left, right: left.new_empty(*left.shape[:2], right.shape[2]),
    torch.ops.aten.roll.default: lambda x, *_: x.new_empty(x.shape),
    torch.ops.aten.add.Tensor: _pointwise,
    torch.ops.aten.sub.Tensor: _pointwise,
    torch.ops.aten.mul.Tensor: _pointwise,
    torch.ops.aten.div.Tensor: _quotient,
    torch.ops.aten.div.Scalar: _quotient,
    torch.ops.aten.add_.Tensor: lambda x, _: x,
    torch.ops.aten.where.self: lambda condition, x, y: _pointwise(x, y, condition),
    torch.ops.aten.cat.default: _cat,
    torch.ops.aten.stack.default: _stack,
    torch.ops.aten.mean.dim: _mean,
}
# CPU fused attention, which torch's formulas lack.
_COUNTS = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
