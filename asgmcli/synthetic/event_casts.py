"""Which things are in the clips of `demo_parsing` and `demo_events`, and in which seconds each is seen and heard.

A clip of ten seconds is drawn from seed, split and index alone. In `demo_parsing` each kind has a timbre of its own, so
that what is only heard has a name. In `demo_events` glyphs and timbres are shared in a ring, so that neither is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asgmcli.data.manifest import SPLITS
from asgmcli.data.segments import Span
from asgmcli.media.seconds import SECONDS
from asgmcli.synthetic.acts import ACTS
from asgmcli.synthetic.casts import draw_motion
from asgmcli.synthetic.kinds import KINDS, TIMBRES, Kind
from asgmcli.synthetic.things import Clip, Thing, Times

Seconds = tuple[int, int]
"""Whole seconds from the first (inclusive) to the last (exclusive)."""
LEAD = (-6.0, 0.0)  # dB, of each thing against the loudest that there may be
_WORLD = 303  # of the random streams, which are none of the other worlds'

VOICES = ("bell", "metal", "buzz", "organ", "whistle", "hiss", "wood", "saw", "hum", "reed")
PARSING_KINDS = tuple(Kind(kind.name, kind.glyph, timbre) for kind, timbre in zip(KINDS, VOICES, strict=True))
"""Ten kinds, each with a timbre of its own; the first plays the part of speech."""
# How often a kind is drawn, and whether it is heard only, seen only, or both: of the first and of the others.
DRAWN, MOST_THINGS = (0.42, 0.145), 4
HOW = ((0.72, 0.02, 0.26), (0.18, 0.12, 0.70))
WHOLE, SHORTEST, LONGEST = 0.35, 2, 7
LONG, PAUSE_SHARE = 5, 0.35  # sounds of so many seconds may pause
MOVED_SHARE, MOVED = 0.5, 2


@dataclass(frozen=True)
class EventClass:
    """A class of `demo_events`: what it looks like and what it sounds like."""

    kind: Kind
    timbre: str

    @property
    def name(self) -> str:
        """Return the class name, such as telephone-bell."""
        return f"{self.kind.name}-{self.timbre}"


LOOKS = tuple(next(kind for kind in KINDS if kind.timbre == timbre) for timbre in TIMBRES)
EVENT_CLASSES = tuple(
    EventClass(kind, TIMBRES[(number + step) % len(TIMBRES)]) for number, kind in enumerate(LOOKS) for step in (0, 1)
)
"""A ring of ten: each of five glyphs with two timbres, each of five timbres with two glyphs."""
PAIRS = {(entry.kind.name, entry.timbre) for entry in EVENT_CLASSES}
BACKGROUND = "background"
THROUGHOUT, TWO_EVENTS, SILENT_THING, OFF_SCREEN, SPOILT = 0.6, 0.5, 0.5, 0.5, 0.2
SPLICES = (3, 7)


def random_of(seed: int, split: str, index: int, stream: int) -> np.random.Generator:
    """Return the random numbers of one clip (or block of clips), one stream for each thing that is drawn."""
    return np.random.default_rng([seed, _WORLD, SPLITS.index(split), index, stream])


def joint_spans(clip: Clip) -> list[Span]:
    """Return when each thing is seen and heard at once, by start."""
    found = [
        Span(max(heard[0], seen[0]), min(heard[1], seen[1]), thing.kind)
        for thing in clip.things
        for heard in thing.sounding
        for seen in thing.visible
    ]
    return sorted((span for span in found if span.end > span.start), key=lambda span: span.start)


def parsing_cast(seed: int, split: str, index: int) -> Clip:
    """Draw a clip of `demo_parsing`: one to four things, each heard, seen, or both, through the clip or in a part."""
    rng = random_of(seed, split, index, stream=1)
    chance = np.full(len(PARSING_KINDS), DRAWN[1])
    chance[0] = DRAWN[0]
    drawn = np.zeros(len(chance), bool)
    while not 1 <= drawn.sum() <= MOST_THINGS:
        drawn = rng.random(len(chance)) < chance
    things = [_parsing_thing(rng, int(number)) for number in rng.permutation(np.flatnonzero(drawn))]
    return Clip(tuple(things), float(SECONDS))


def _parsing_thing(rng: np.random.Generator, number: int) -> Thing:
    kind = PARSING_KINDS[number]
    how = int(rng.choice(3, p=HOW[0 if number == 0 else 1]))
    span = _span(rng, SHORTEST, LONGEST, 0, SECONDS) if rng.random() >= WHOLE else (0, SECONDS)
    heard = _paused(rng, span)
    seen = (span,)
    if how == 2 and rng.random() < MOVED_SHARE:
        seen = (_moved(rng, span),)
    return _thing(rng, kind, kind.timbre, draw_motion(rng), () if how == 0 else seen, () if how == 1 else heard)


def _span(rng: np.random.Generator, shortest: int, longest: int, first: int, after: int) -> Seconds:
    """Draw whole seconds of so many at least and at most, between two."""
    length = int(rng.integers(min(shortest, after - first), min(longest, after - first) + 1))
    start = int(rng.integers(first, after - length + 1))
    return start, start + length


def _paused(rng: np.random.Generator, span: Seconds) -> tuple[Seconds, ...]:
    """Return a sound's seconds: a long one may pause for a second or two."""
    start, end = span
    if end - start < LONG or rng.random() >= PAUSE_SHARE:
        return (span,)
    length = int(rng.integers(1, 3))
    pause = int(rng.integers(start + 1, end - length))
    return (start, pause), (pause + length, end)


def _moved(rng: np.random.Generator, span: Seconds) -> Seconds:
    """Return `span` moved by one or two seconds either way, cut at the clip's ends."""
    shift = int(rng.choice((-1, 1))) * int(rng.integers(1, MOVED + 1))
    start, end = max(0, span[0] + shift), min(SECONDS, span[1] + shift)
    return (start, end) if end > start else span


def first_event(seed: int, split: str, index: int) -> int:
    """Return the class number of a clip's first event: every ten clips hold each class once, in a drawn order."""
    block, place = divmod(index, len(EVENT_CLASSES))
    return int(random_of(seed, split, block, stream=4).permutation(len(EVENT_CLASSES))[place])


def events_cast(seed: int, split: str, index: int) -> Clip:
    """Draw a clip of `demo_events`: one event, or two after each other, with silent things and off-screen sounds.

    In one second of five things hardly show, or noise covers what sounds: what happens before and after tells more.
    """
    rng = random_of(seed, split, index, stream=1)
    first = first_event(seed, split, index)
    if rng.random() < TWO_EVENTS:
        cut = int(rng.integers(SPLICES[0], SPLICES[1] + 1))
        second = int((first + rng.integers(1, len(EVENT_CLASSES))) % len(EVENT_CLASSES))
        things = [*_event(rng, first, (0, cut)), *_event(rng, second, (cut, SECONDS))]
    else:
        things = _event(rng, first, (0, SECONDS))
    order = rng.permutation(len(things))
    spoilt = np.flatnonzero(rng.random(SECONDS) < SPOILT)
    covered = rng.random(len(spoilt)) < 0.5
    faint, hidden = (_times(tuple((int(s), int(s) + 1) for s in part)) for part in (spoilt[~covered], spoilt[covered]))
    return Clip(tuple(things[int(number)] for number in order), float(SECONDS), faint, hidden)


def _event(rng: np.random.Generator, number: int, part: Seconds) -> list[Thing]:
    """Draw an event within `part`, and what disturbs it there: a silent other thing, an off-screen sound.

    Neither makes a class with what is seen and heard beside it. A thing is seen and heard as long as it likes: the
    event is while both are there. Motions are drawn apart from classes; the silent thing has another one.
    """
    entry = EVENT_CLASSES[number]
    seen = heard = (0, 0)
    while min(seen[1], heard[1]) - max(seen[0], heard[0]) < 1:
        seen, heard = _lasting(rng, part), _lasting(rng, part)
    motion, other = (list(ACTS)[int(place)] for place in rng.permutation(len(ACTS))[:2])
    named = Kind(entry.name, entry.kind.glyph, entry.timbre)
    things = [_thing(rng, named, entry.timbre, motion, (seen,), (heard,))]
    shown = [entry.kind]
    silent, off_screen = rng.random() < SILENT_THING, rng.random() < OFF_SCREEN
    if silent:
        kinds = [kind for kind in LOOKS if (kind.name, entry.timbre) not in PAIRS]
        kind = kinds[int(rng.integers(len(kinds)))]
        things.append(_thing(rng, kind, entry.timbre, other, (part,), ()))
        shown.append(kind)
    if off_screen:
        timbres = [timbre for timbre in TIMBRES if not any((kind.name, timbre) in PAIRS for kind in shown)]
        timbre = timbres[int(rng.integers(len(timbres)))]
        things.append(_thing(rng, Kind(timbre, "", timbre), timbre, draw_motion(rng), (), (part,)))
    return things


def _lasting(rng: np.random.Generator, part: Seconds) -> Seconds:
    """Return `part`, or a draw of half of it or more."""
    length = part[1] - part[0]
    if rng.random() < THROUGHOUT:
        return part
    return _span(rng, max(1, length // 2), max(1, length - 1), *part)


def _thing(
    rng: np.random.Generator,
    kind: Kind,
    timbre: str,
    motion: str,
    seen: tuple[Seconds, ...],
    heard: tuple[Seconds, ...],
) -> Thing:
    lead = float(rng.uniform(*LEAD))
    return Thing(kind.name, kind.glyph, timbre, motion, _times(seen), _times(heard), lead)


def _times(parts: tuple[Seconds, ...]) -> Times:
    return tuple((float(start), float(end)) for start, end in parts)
