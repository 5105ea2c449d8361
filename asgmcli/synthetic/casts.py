"""Which things are in a clip of the demo: one sounds, one or two are silent, and at times another is heard unseen.

All things of a clip are of different timbres, and twins are never on the screen together. So the sound says "one of
these two kinds", the picture "one of the two or three that are to be seen", and both together say which. With usual
companions the first silent thing is often the one that goes with the source's kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asgmcli.data.manifest import SPLITS
from asgmcli.synthetic.acts import ACTS
from asgmcli.synthetic.kinds import KINDS, Kind, companion, groups_of
from asgmcli.synthetic.things import WORLD, Clip, Thing, Times

SHUFFLED, VAL_SHUFFLED, UNBIASED = "test_shuffled", "val_shuffled", "unbiased"
"""Splits whose silent things are random, beside those with usual companions; the last is without labels."""
STREAMS = (*SPLITS, SHUFFLED, VAL_SHUFFLED, UNBIASED)
"""Splits in the order that their random streams are numbered by: a clip's bytes hang on it."""
_WORLD = 202  # of the random streams, which are none of the other worlds'


def random_of(seed: int, split: str, index: int, stream: int) -> np.random.Generator:
    """Return the random numbers of one clip (or block of clips), one stream for each thing that is drawn."""
    return np.random.default_rng([seed, _WORLD, STREAMS.index(split), index, stream])


def source_of(seed: int, split: str, index: int, kinds: tuple[Kind, ...] = KINDS) -> int:
    """Return the number of the kind that sounds: each block of clips of a split holds each once, in a drawn order."""
    block, place = divmod(index, len(kinds))
    return int(random_of(seed, split, block, stream=1).permutation(len(kinds))[place])


def draw_cast(
    seed: int,
    split: str,
    index: int,
    seconds: float = 2.0,
    companions: float | None = None,
    kinds: tuple[Kind, ...] = KINDS,
) -> Clip:
    """Draw the things of a clip; the source is painted before or behind the others at random.

    Args:
        seed: of the data set.
        split: of the clip, one of STREAMS.
        index: of the clip in its split.
        seconds: of the clip.
        companions: the probability that the first silent thing is the source's usual companion, if it is not one
            that chance brings; of train, val and test alone. None is 0.
        kinds: that there are.
    """
    rng = random_of(seed, split, index, stream=2)
    source, groups = source_of(seed, split, index, kinds), groups_of(kinds)
    count = 2 if rng.random() < WORLD.three_sprites else 1
    others = [group for group in groups if source not in group]
    silent = [others[int(place)][int(rng.integers(len(others[int(place)])))] for place in rng.permutation(len(others))]
    usual = rng.random() < (companions or 0.0)
    if usual and split in SPLITS:
        friend = companion(source, kinds)
        (twins,) = (group for group in groups if friend in group)
        silent = [friend, *(number for number in silent if number not in twins)]
    shown, absent = [source, *silent[:count]], silent[count:]
    whole = ((0.0, seconds),)
    things = []
    for number in rng.permutation(len(shown)):
        things.append(draw_thing(rng, kinds[shown[number]], visible=whole, sounding=whole if number == 0 else ()))
    return Clip((*things, *unseen(rng, [kinds[number] for number in absent], whole)), seconds)


def unseen(rng: np.random.Generator, absent: Sequence[Kind], times: Times) -> list[Thing]:
    """Return, in a share of the calls, a thing of one of the `absent` kinds that is heard at `times` and not seen."""
    if not absent or rng.random() >= WORLD.other_share:
        return []
    lead = -float(rng.uniform(*WORLD.other))
    return [draw_thing(rng, absent[int(rng.integers(len(absent)))], sounding=times, lead=lead)]


def draw_thing(
    rng: np.random.Generator, kind: Kind, visible: Times = (), sounding: Times = (), lead: float = 0.0
) -> Thing:
    """Return a thing of a kind; its motion is drawn."""
    return Thing(kind.name, kind.glyph, kind.timbre, draw_motion(rng), visible, sounding, lead)


def draw_motion(rng: np.random.Generator) -> str:
    """Return the name of one of ACTS."""
    return list(ACTS)[int(rng.integers(len(ACTS)))]
