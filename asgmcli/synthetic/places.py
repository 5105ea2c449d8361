"""Places where clips are set: kinds of background that a class may prefer, so that the scene tells of the class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asgmcli.synthetic.backgrounds import TEXTURES

COUNT = 10


@dataclass(frozen=True)
class Place:
    """A pattern's kind and its hue (0..1); what else a background has is drawn for each clip."""

    texture: str
    hue: float

    @property
    def name(self) -> str:
        """Return the place's name, such as dots-300: the pattern, and the hue in degrees."""
        return f"{self.texture}-{round(360 * self.hue)}"


# Neighbours in hue differ in their pattern, and those that share a pattern lie far apart in hue.
PLACES = tuple(Place(list(TEXTURES)[number % len(TEXTURES)], number / COUNT) for number in range(COUNT))


def choose_place(rng: np.random.Generator, own: int, bias: float | None) -> Place:
    """Choose the place of a clip of class number `own`: its class's with probability `bias`, else any other's.

    None: no relation to the class, every place is equally likely (as with a bias of one in ten).
    """
    if bias is None:
        return PLACES[int(rng.integers(COUNT))]
    other = (own + 1 + int(rng.integers(COUNT - 1))) % COUNT
    return PLACES[own if rng.random() < bias else other]
