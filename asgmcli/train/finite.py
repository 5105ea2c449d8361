"""NaN and infinity: found in the step that makes them, before the teacher takes them up; and a step undone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor


class Restorable(Protocol):
    """What gives its state and takes it up again."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take it up."""


def where_not_finite(state: Mapping[str, Any]) -> str | None:
    """The name (`teacher.head.weight`) of the first tensor that holds NaN or infinity; None where all are finite.

    Args:
        state: mappings and lists of tensors, of any depth; what is no floating-point tensor is passed over.
    """
    found = [(name, value.detach()) for name, value in _tensors(state) if value.is_floating_point()]
    if not found:
        return None
    # A sum shows what any element has; it is the quickest pass over memory, and one answer from the device for all.
    # Sums of finite numbers may overflow, so that a suspicion is looked into.
    device = found[0][1].device
    sums = torch.stack([value.sum().float().to(device) for _, value in found])
    if bool(torch.isfinite(sums).all()):
        return None
    return next((name for name, value in found if not bool(torch.isfinite(value).all())), None)


class Undo:
    """What a step may change, as it was before it.

    Args:
        parts: their states are copied, which takes their size in memory and the time of one pass over it.
    """

    def __init__(self, *parts: Restorable) -> None:
        self._parts = [(part, _copied(part.state_dict())) for part in parts]

    def __call__(self) -> None:
        """Put everything back."""
        for part, state in self._parts:
            part.load_state_dict(state)


def numbers(values: Mapping[str, float]) -> dict[str, float | str]:
    """The values as JSON can hold them: NaN and infinities as text."""
    return {name: value if math.isfinite(value) else str(value) for name, value in values.items()}


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _tensors(inner, f"{name}.{index}")


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
