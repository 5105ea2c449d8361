"""The size of a data set that is not on disk yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """The number of classes and, by split, of clips in a data set, and their source; `boxes`: every clip has some."""

    classes: int
    clips: Mapping[str, int]
    known_from: str
    boxes: bool = False
