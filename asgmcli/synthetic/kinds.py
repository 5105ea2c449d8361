"""The ten kinds of things of the generated world: what each looks like, and the timbre that it shares with its twin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Kind:
    """A kind of thing: its name, its glyph ("" where it has pictures), and its timbre, or whose recordings it has."""

    name: str
    glyph: str
    timbre: str


KINDS = (
    Kind("telephone", "\N{BLACK TELEPHONE}", "bell"),
    Kind("gear", "\N{GEAR}", "bell"),
    Kind("umbrella", "\N{UMBRELLA}", "buzz"),
    Kind("notes", "\N{BEAMED EIGHTH NOTES}", "buzz"),
    Kind("knight", "\N{BLACK CHESS KNIGHT}", "whistle"),
    Kind("cat", "\N{CAT FACE}", "whistle"),
    Kind("plane", "\N{AIRPLANE}", "wood"),
    Kind("skull", "\N{SKULL AND CROSSBONES}", "wood"),
    Kind("anchor", "\N{ANCHOR}", "hum"),
    Kind("heart", "\N{HEAVY BLACK HEART}", "hum"),
)
"""Two to a timbre, side by side: twins to the ear."""
TIMBRES = tuple(dict.fromkeys(kind.timbre for kind in KINDS))


@lru_cache(maxsize=64)
def groups_of(kinds: tuple[Kind, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of the kinds that share each timbre, in the order of the timbres."""
    found: dict[str, list[int]] = {}
    for number, kind in enumerate(kinds):
        found.setdefault(kind.timbre, []).append(number)
    return tuple(tuple(numbers) for numbers in found.values())


def companion(number: int, kinds: tuple[Kind, ...] = KINDS) -> int:
    """Return the number of a kind's usual companion: of the next timbre, in the same place among its kinds."""
    groups = groups_of(kinds)
    (own,) = (place for place, group in enumerate(groups) if number in group)
    following = groups[(own + 1) % len(groups)]
    return following[groups[own].index(number) % len(following)]
