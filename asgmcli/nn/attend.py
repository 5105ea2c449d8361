"""Softmax attention of many rows of tokens, few or many a row."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from asgmcli.nn.lean import arithmetic

# CUDA's fused attention launches one block row per row of tokens, and a grid has no more than this many.
MOST_ROWS = 65535
# Tokens a row between which a CPU's fused attention takes longer, with its gradient, than products of all rows at once:
# it spends its time on calls.
FEWEST, MOST = 3, 10


def attend(qkv: Tensor, heads: int) -> Tensor:
    """Softmax attention of each row over its own tokens ("Attention is all you need", equation 1).

    Args:
        qkv: [R, S, 3D] queries, keys and values of R rows of S tokens. Rows and tokens may lie in any order in memory.
        heads: number of heads; divides D.

    Returns:
        [R, S, D]; of few fp32 tokens on a CPU in the order that `qkv` has in memory.
    """
    rows, length, width = qkv.shape
    if FEWEST <= length <= MOST and _in_fp32_on_a_cpu(qkv):
        if torch.is_grad_enabled():
            result: Tensor = _FewTokens.apply(qkv, heads)
            return result
        return _attend_few(qkv, heads)[0]
    if rows > MOST_ROWS:
        return torch.cat([attend(part, heads) for part in qkv.split(MOST_ROWS)])
    q, k, v = _Split.apply(qkv, heads) if torch.is_grad_enabled() else _split(qkv, heads)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, width // 3)


def _in_fp32_on_a_cpu(x: Tensor) -> bool:
    return arithmetic(x) == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def _split(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """[R, S, 3D] -> queries, keys, values, each [R, heads, S, D / heads], all of them views."""
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return q, k, v


def _join(parts: tuple[Tensor, ...], like: Tensor, heads: int) -> Tensor:
    """The opposite of `_split`, in the order that `like` has in memory."""
    whole = torch.empty_like(like)
    for part, given in zip(_split(whole, heads), parts, strict=True):
        part.copy_(given)
    return whole


class _Split(torch.autograd.Function):
    """`_split`, whose gradient is laid as its input lies: what made the input reads it as it is."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(qkv)
        ctx.heads = heads
        return _split(qkv, heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (qkv,) = ctx.saved_tensors
        return _join(grads, qkv, ctx.heads), None


def _attend_few(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Attention as products of matrices: [R, S, D] and its weights [R x heads, keys S, queries S].

    Keys come first, so that the sums over them run along whole vectors of queries.
    """
    q, k, v = _matrices(qkv, heads)
    scores = torch.baddbmm(q.new_empty(1, 1, 1), k, q.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    weights = scores.softmax(1)
    means = torch.bmm(weights.transpose(1, 2), v)
    out = torch.empty_like(qkv[..., : qkv.shape[-1] // 3])
    out.unflatten(-1, (heads, -1)).transpose(1, 2).copy_(means.unflatten(0, (-1, heads)))
    return out, weights


def _matrices(qkv: Tensor, heads: int) -> list[Tensor]:
    """[R, S, 3D] -> queries, keys, values [R x heads, S, D / heads]."""
    return [_by_head(part, heads) for part in qkv.chunk(3, -1)]


def _by_head(x: Tensor, heads: int) -> Tensor:
    """[R, S, D] -> [R x heads, S, D / heads], token after token in memory, as attention over time finds its rows."""
    return x.transpose(0, 1).unflatten(-1, (heads, -1)).flatten(1, 2).transpose(0, 1)


class _FewTokens(torch.autograd.Function):
    """`_attend_few` with its gradient; beside its input it stores the weights alone."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int) -> Tensor:
        out, weights = _attend_few(qkv, heads)
        ctx.save_for_backward(qkv, weights)
        ctx.heads = heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        qkv, weights = ctx.saved_tensors
        q, k, v = _matrices(qkv, ctx.heads)
        into = _by_head(grad, ctx.heads)
        for_v = torch.bmm(weights, into)
        for_weights = torch.bmm(v, into.transpose(1, 2))
        scores = torch._softmax_backward_data(for_weights, weights, 1, weights.dtype).mul_(q.shape[-1] ** -0.5)
        parts = (torch.bmm(scores.transpose(1, 2), k), torch.bmm(scores, q), for_v)
        heads_first = tuple(part.unflatten(0, (-1, ctx.heads)) for part in parts)
        return _join(heads_first, qkv, ctx.heads), None
