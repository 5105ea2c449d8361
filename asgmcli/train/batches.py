"""The contract between the training loop and any task's batch, and the way of its tensors to a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import torch

from asgmcli.data.loader import map_tensors


class HasIds(Protocol):
    """A dataclass of tensors [B, ...], lists and such dataclasses (see `data.loader`), which names its clips."""

    @property
    def ids(self) -> list[str]:
        """Return the ids of its clips, streams joined."""


class TrainBatch(HasIds, Protocol):
    """A batch that is trained on."""

    @property
    def failures(self) -> list[str]:
        """Return what could not be decoded and was replaced, a line each."""


class Precomputed:
    """A batch of what is generated or was decoded beforehand, so that no clip of it can fail."""

    @property
    def failures(self) -> list[str]:
        """Return nothing."""
        return []


B = TypeVar("B")
N = TypeVar("N", bound=HasIds)


def move(batch: B, device: torch.device) -> B:
    """Return a batch with its tensors on `device`."""
    return map_tensors(batch, lambda tensor: tensor.to(device, non_blocking=True))


def watched(batches: Iterable[N], seen: Callable[[int], None]) -> Iterator[N]:
    """Yield `batches`; after each `seen` is told its number of clips."""
    for batch in batches:
        yield batch
        seen(len(batch.ids))
