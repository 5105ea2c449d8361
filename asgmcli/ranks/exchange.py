"""Communication between ranks: the processes that torchrun starts for one run.

Every rank holds the whole state and takes its part of each global batch. Weights stay equal because all start from one
seed and step by the same averaged gradients. In a single process each function returns its argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import click
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from asgmcli.data.plan import RankShare
from asgmcli.errors import Interrupted, InterruptedByKeyboard, UsageError
from asgmcli.ranks.launch import Launch

T = TypeVar("T")

# Time limit for ranks that wait while the first makes what a recipe needs; torchrun detects a dead rank.
TIMEOUT = timedelta(days=1)


@contextmanager
def joined(launch: Launch, device: torch.device) -> Iterator[None]:
    """Join the other ranks for the block: nccl for tensors on a GPU, gloo for those on a CPU.

    Raises:
        Interrupted: another rank is gone.
    """
    if not launch.several:
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield
    except RuntimeError as error:
        if "gloo" not in str(error):
            raise
        raise Interrupted(
            "Another process is gone. Start the command again; a training goes on with --resume."
        ) from None
    dist.destroy_process_group()  # after an error the others may still be within an exchange


def count_ranks() -> int:
    """Return the number of ranks: 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_rank() -> int:
    """Return this process's rank, from 0. Rank 0 writes and reports."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def own_share() -> RankShare:
    """Return this rank's part of every batch."""
    return RankShare(own_rank(), count_ranks())


def own_rows(rows: Tensor) -> Tensor:
    """Return this rank's part of all ranks' rows [n, ...]."""
    return rows.chunk(count_ranks())[own_rank()]


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate the rows of every rank, in rank order, with gradient.

    A loss computed on every rank from the result, with gradients averaged afterwards, has the gradient of one process
    that holds all rows: the backward pass needs no communication.

    Args:
        rows: [n, ...] of this rank; all ranks have equal shapes.

    Returns:
        [n * ranks, ...], equal on all ranks.
    """
    ranks = count_ranks()
    if ranks == 1:
        return rows
    own = rows.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(ranks)]
    dist.all_gather(parts, own)
    parts[own_rank()] = own + ranks * (rows - own)  # the same numbers; averaging divides their gradient
    return torch.cat(parts)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace gradients by their means over all ranks; every rank must have gradients for the same parameters."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if count_ranks() == 1 or not gradients:
        return
    flat = _flatten_dense_tensors(gradients)
    dist.all_reduce(flat)
    means = _unflatten_dense_tensors(flat.div_(count_ranks()), gradients)
    torch._foreach_copy_(gradients, means)


def mean_terms(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Return a step's terms as numbers, averaged over all ranks, which see equally many clips."""
    if count_ranks() == 1:
        return {name: float(value.detach()) for name, value in terms.items()}
    values = torch.stack([value.detach().double() for value in terms.values()])
    dist.all_reduce(values)
    return dict(zip(terms, (values / count_ranks()).tolist(), strict=True))


def share_buffers(networks: Iterable[nn.Module]) -> None:
    """Copy the first rank's buffers to all: on CPUs each rank's batch norms follow its own clips."""
    if count_ranks() > 1:
        for network in networks:
            for buffer in network.buffers():
                dist.broadcast(buffer, 0)


def gathered(items: Sequence[T]) -> list[T]:
    """Return the items of all ranks, in rank order, on the first rank; an empty list on the others."""
    if count_ranks() == 1:
        return list(items)
    parts: list[list[T]] | None = [[]] * count_ranks() if own_rank() == 0 else None
    dist.gather_object(list(items), parts)
    return [item for part in parts or [] for item in part]


def agree(*numbers: int) -> list[int]:
    """Return each number's maximum over all ranks. Collective."""
    if count_ranks() == 1:
        return list(numbers)
    values = torch.tensor(numbers)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return values.tolist()


def summed(number: int) -> tuple[int, int]:
    """Return the sum of a number over all ranks, and how many ranks there are. Collective."""
    if count_ranks() == 1:
        return number, 1
    value = torch.tensor(number)
    dist.all_reduce(value)
    return int(value), count_ranks()


def on_main_rank(work: Callable[[], T]) -> T:
    """Run `work` on the first rank while the others wait. Return its result on all ranks.

    If it fails, the first rank raises its error, and the others exit silently with the same code.
    """
    if count_ranks() == 1:
        return work()
    answer: list[T] = []
    failed, code = None, 0
    if own_rank() == 0:
        try:
            answer = [work()]
        except BaseException as error:  # a signal's too
            failed = error
            code = InterruptedByKeyboard.exit_code if isinstance(error, KeyboardInterrupt) else 1
            code = getattr(error, "exit_code", code)
    told: list[tuple[list[T], int]] = [(answer, code)]
    dist.broadcast_object_list(told)
    answer, code = told[0]
    if failed is not None:
        raise failed
    if code:
        raise click.exceptions.Exit(code)
    return answer[0]


def check_same(facts: Mapping[str, object]) -> None:
    """Check that all ranks are about to train the same run. Collective.

    Raises:
        UsageError: they are not; the message names the differences from the first rank.
    """
    parts: list[Mapping[str, object]] = [dict(facts)] * count_ranks()
    if count_ranks() > 1:
        dist.all_gather_object(parts, dict(facts))
    wrong = [
        f"{key} is {part[key]!r} in process {rank}, {parts[0][key]!r} in the first"
        for rank, part in enumerate(parts)
        for key in facts
        if part[key] != parts[0][key]
    ]
    if wrong:
        raise UsageError(f"All processes need the same command, folders and versions: {'; '.join(wrong)}.")
