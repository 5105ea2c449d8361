"""How large a data set is that is not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """How many classes and, by split, clips a data set has, and what tells so; `boxes`: whether each clip has some."""

    classes: int
    clips: Mapping[str, int]
    known_from: str
    boxes: bool = False
