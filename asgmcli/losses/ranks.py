"""Rows of all ranks on every rank, with gradient: what makes a batch-wide loss the same on one device and on many."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def count_ranks() -> int:
    """How many processes work on one batch: 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_rank() -> int:
    """This process's number among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def own_rows(rows: Tensor) -> Tensor:
    """This rank's rows of all ranks' [n, ...], which have equally many each; in a single process all."""
    return rows if count_ranks() == 1 else rows.chunk(count_ranks())[own_rank()]


def gather_rows(rows: Tensor, *, equal: bool = False) -> Tensor:
    """Concatenate the rows of every rank, in rank order; in a single process the argument itself.

    The gradient of a rank's own rows is the sum of what every rank's loss asks of them. With gradients averaged over
    ranks afterwards (DistributedDataParallel), a loss over the gathered rows has the gradient of one process that holds
    them all. A collective call: every rank must make it, and trailing dimensions must agree; row counts may differ.

    Args:
        rows: [n, ...] this rank's rows. The process group must know their device, and CPUs (`cpu:gloo,cuda:nccl`).
        equal: every rank is known to have n, so that none has to ask.

    Returns:
        [sum of n over the ranks, ...], equal on all ranks.
    """
    if count_ranks() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows, equal)
    return gathered


class _GatherRows(torch.autograd.Function):
    """All-gather, also of unequal row counts; backward sums over ranks and keeps the own rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, equal: bool) -> Tensor:
        world, rank = dist.get_world_size(), dist.get_rank()
        if equal:
            ctx.start, ctx.length = rank * rows.shape[0], rows.shape[0]
            whole = rows.new_empty(world * rows.shape[0], *rows.shape[1:])
            dist.all_gather_into_tensor(whole, rows.contiguous())
            return whole
        # Between CPUs: a GPU's numbers would have to be waited for.
        own = torch.tensor([rows.shape[0]])
        counts = [torch.empty_like(own) for _ in range(world)]
        dist.all_gather(counts, own)
        sizes = [int(count) for count in counts]
        ctx.start, ctx.length = sum(sizes[:rank]), sizes[rank]
        # Collectives want equal shapes: rows are padded to the longest rank's and cut again.
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: rows.shape[0]] = rows
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.length], None
