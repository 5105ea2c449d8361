"""Operations of the training loop on any task's batch: move its tensors, read the texts of its streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from asgmcli.data.loader import Batch


def move(batch: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on `device`."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: move(value, device) for key, value in batch.items()}
    return batch


def per_stream(batch: Batch, key: str) -> list[list[str]]:
    """Return the texts that a batch has under `key`, of each of its streams."""
    found = [list(batch[key])] if key in batch else []
    for value in batch.values():
        if isinstance(value, Mapping):
            found += per_stream(dict(value), key)
    return found


def batch_ids(batch: Batch) -> list[str]:
    """Return the ids of all clips of a batch, streams joined."""
    return [clip for stream in per_stream(batch, "id") for clip in stream]


def count_clips(batch: Batch) -> int:
    """Count the clips of a batch."""
    return len(batch_ids(batch))
