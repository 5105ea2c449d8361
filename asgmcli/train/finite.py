"""Detect NaN and infinity in the step that makes them, before they reach the teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def where_not_finite(state: Mapping[str, object]) -> str | None:
    """Return the name (`teacher.head.weight`) of the first tensor with NaN or infinity; None if all are finite.

    Args:
        state: mappings and lists of tensors, of any depth; anything but floating-point tensors is skipped.
    """
    found = [(name, value.detach()) for name, value in _tensors(state) if value.is_floating_point()]
    if not found:
        return None
    # A sum reveals NaN and infinity in one fast pass and one transfer from the device.
    # Sums of finite numbers may overflow, so a suspicion is checked.
    device = found[0][1].device
    sums = torch.stack([value.sum().float().to(device) for _, value in found])
    if bool(torch.isfinite(sums).all()):
        return None
    return next((name for name, value in found if not bool(torch.isfinite(value).all())), None)


def numbers(values: Mapping[str, float]) -> dict[str, float | str]:
    """Return the values as JSON can hold them: NaN and infinities as text."""
    return {name: value if math.isfinite(value) else str(value) for name, value in values.items()}


def _tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _tensors(inner, f"{name}.{index}")
