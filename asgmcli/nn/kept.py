"""Features of a frozen network that are computed once in a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

AT_ONCE = 8
"""Inputs that go through the network together: fewer take longer each, more are more often filled up in vain."""


class Kept:
    """A frozen network's features, computed once for each recurring input.

    Floating-point results depend on the batch size, so every call computes the same number of inputs: no result depends
    on which others were new in its batch, and a resumed run reproduces them.

    Args:
        most: bytes to keep; inputs beyond are computed each time. None keeps all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._bytes = 0
        self._found: dict[Hashable, Tensor] = {}

    def __call__(self, keys: Sequence[Hashable], compute: Callable[[list[int]], Tensor]) -> Tensor:
        """Return the results [n, ...] of n inputs.

        Args:
            keys: identify the inputs.
            compute: returns the results [m, ...] of the inputs at m places of `keys`.
        """
        found = {key: self._found[key] for key in keys if key in self._found}
        places = list({key: place for place, key in enumerate(keys) if key not in found}.values())
        for first in range(0, len(places), AT_ONCE):
            part = places[first : first + AT_ONCE]
            # A copy: a view would keep the whole padded batch in memory.
            results = compute(part + part[:1] * (AT_ONCE - len(part)))[: len(part)].clone()
            new = dict(zip((keys[place] for place in part), results, strict=True))
            found |= new
            if self._most is None or self._bytes + results.nbytes <= self._most:
                self._found |= new
                self._bytes += results.nbytes
        return torch.stack([found[key] for key in keys])


def name_sounds(wave: Tensor) -> list[bytes]:
    """Return a name for each sound of [B, S]: equal samples, equal names."""
    return [hashlib.sha256(sound.numpy().data).digest() for sound in wave.cpu().contiguous()]
