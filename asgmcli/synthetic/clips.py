"""The ten classes of sprites: five kinds of two actions each, every class with a timbre of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpriteClass:
    """A class: the sounding sprite's kind and action, and its timbre."""

    shape: str
    motion: str
    timbre: str

    @property
    def name(self) -> str:
        """Return the class name, such as star-bounce."""
        return f"{self.shape}-{self.motion}"


CLASSES = (
    SpriteClass("star", "bounce", "bell"),
    SpriteClass("star", "pulse", "organ"),
    SpriteClass("cross", "shake", "buzz"),
    SpriteClass("cross", "stretch", "saw"),
    SpriteClass("triangle", "sweep", "whistle"),
    SpriteClass("triangle", "zigzag", "reed"),
    SpriteClass("ring", "orbit", "hum"),
    SpriteClass("ring", "jump", "wood"),
    SpriteClass("crescent", "spin", "metal"),
    SpriteClass("crescent", "swing", "hiss"),
)
