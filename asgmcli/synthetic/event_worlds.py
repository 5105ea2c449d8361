"""Events in the clips of `demo_parsing` and `demo_events`: classes, and how a clip's things are drawn."""

from __future__ import annotations

import numpy as np

from asgmcli.synthetic.events import SECONDS, Content, EventClass, Seconds, Thing, random_of

PARSING_CLASSES = tuple(
    EventClass(shape, motion, timbre, f"{shape}-{timbre}")
    for shape, motion, timbre in (
        ("star", "bounce", "bell"),
        ("cross", "shake", "buzz"),
        ("triangle", "sweep", "whistle"),
        ("ring", "orbit", "hum"),
        ("crescent", "swing", "hiss"),
        ("square", "pulse", "organ"),
        ("disc", "jump", "wood"),
        ("rhombus", "spin", "metal"),
        ("hourglass", "stretch", "saw"),
        ("chevron", "zigzag", "reed"),
    )
)
"""Ten classes, each with a shape, a motion and a timbre of its own; the first plays the part of speech."""
SHAPES = ("star", "cross", "triangle", "ring", "crescent")
TIMBRES = ("bell", "buzz", "whistle", "hum", "metal")
MOVES = ("bounce", "shake", "sweep", "orbit", "swing")
EVENTS_CLASSES = tuple(
    EventClass(shape, "", TIMBRES[(number + step) % len(TIMBRES)], f"{shape}-{TIMBRES[(number + step) % len(TIMBRES)]}")
    for number, shape in enumerate(SHAPES)
    for step in (0, 1)
)
"""A ring of ten: each of five shapes with two timbres, each of five timbres with two shapes.

A class has no motion of its own: a sound follows its sprite's motion, and would tell the shape by it.
"""
BACKGROUND = "background"
# demo_parsing: how often a class is drawn, and whether it is heard only, seen only, or both: of the first and others.
DRAWN, MOST_THINGS = (0.42, 0.145), 4
HOW = ((0.72, 0.02, 0.26), (0.18, 0.12, 0.70))
WHOLE, SHORTEST, LONGEST = 0.35, 2, 7
LONG, PAUSE_SHARE = 5, 0.35  # sounds of so many seconds may pause
MOVED_SHARE, MOVED = 0.5, 2
# demo_events
THROUGHOUT, TWO_EVENTS, SILENT_SHAPE, OFF_SCREEN, SPOILT = 0.6, 0.5, 0.5, 0.5, 0.2
SPLICES = (3, 7)


def parsing_content(seed: int, split: str, index: int) -> Content:
    """Draw a clip of `demo_parsing`: one to four things, each heard, seen, or both, through the clip or in a part."""
    rng = random_of(seed, split, index, stream=1)
    count = len(PARSING_CLASSES)
    chance = np.full(count, DRAWN[1])
    chance[0] = DRAWN[0]
    drawn = np.zeros(count, bool)
    while not 1 <= drawn.sum() <= MOST_THINGS:
        drawn = rng.random(count) < chance
    return Content(tuple(_parsing_thing(rng, int(number)) for number in np.flatnonzero(drawn)))


def _parsing_thing(rng: np.random.Generator, number: int) -> Thing:
    entry = PARSING_CLASSES[number]
    kind = int(rng.choice(3, p=HOW[0 if number == 0 else 1]))
    span = _span(rng, SHORTEST, LONGEST, 0, SECONDS) if rng.random() >= WHOLE else (0, SECONDS)
    heard = _paused(rng, span)
    seen = (span,)
    if kind == 2 and rng.random() < MOVED_SHARE:
        seen = (_moved(rng, span),)
    return Thing(
        entry.shape, entry.motion, entry.timbre, () if kind == 0 else seen, () if kind == 1 else heard, entry.name
    )


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


def events_label(seed: int, split: str, index: int) -> int:
    """Return the class number of a clip's first event: every ten clips hold each class once, in a drawn order."""
    block, place = divmod(index, len(EVENTS_CLASSES))
    return int(random_of(seed, split, block, stream=4).permutation(len(EVENTS_CLASSES))[place])


def events_content(seed: int, split: str, index: int) -> Content:
    """Draw a clip of `demo_events`: one event, or two after each other, with silent shapes and off-screen sounds."""
    rng = random_of(seed, split, index, stream=1)
    first = events_label(seed, split, index)
    things: list[Thing] = []
    if rng.random() < TWO_EVENTS:
        cut = int(rng.integers(SPLICES[0], SPLICES[1] + 1))
        second = int((first + rng.integers(1, len(EVENTS_CLASSES))) % len(EVENTS_CLASSES))
        for number, part in ((first, (0, cut)), (second, (cut, SECONDS))):
            things += _event(rng, number, part)
    else:
        things += _event(rng, first, (0, SECONDS))
    spoilt = np.flatnonzero(rng.random(SECONDS) < SPOILT)
    covered = rng.random(len(spoilt)) < 0.5
    return Content(tuple(things), tuple(map(int, spoilt[~covered])), tuple(map(int, spoilt[covered])))


def _lasting(rng: np.random.Generator, part: Seconds) -> Seconds:
    """Return `part`, or a draw of half of it or more."""
    length = part[1] - part[0]
    if rng.random() < THROUGHOUT:
        return part
    return _span(rng, max(1, length // 2), max(1, length - 1), *part)


def _event(rng: np.random.Generator, number: int, part: Seconds) -> list[Thing]:
    """Draw an event within `part`, and what disturbs it there: a silent other shape, an off-screen sound.

    Neither makes a class with what is seen and heard beside it. Sprite and sound last as they like: the event is while
    both are there. Motions are drawn apart from classes; the silent shape has another one.
    """
    entry = EVENTS_CLASSES[number]
    seen = heard = (0, 0)
    while min(seen[1], heard[1]) - max(seen[0], heard[0]) < 1:
        seen, heard = _lasting(rng, part), _lasting(rng, part)
    motion, other = (MOVES[int(number)] for number in rng.permutation(len(MOVES))[:2])
    things = [Thing(entry.shape, motion, entry.timbre, (seen,), (heard,), entry.name)]
    pairs = {(known.shape, known.timbre) for known in EVENTS_CLASSES}
    shown = [entry.shape]
    silent, off_screen = rng.random() < SILENT_SHAPE, rng.random() < OFF_SCREEN
    if silent:
        shapes = [shape for shape in SHAPES if (shape, entry.timbre) not in pairs]
        shape = shapes[int(rng.integers(len(shapes)))]
        things.append(Thing(shape, other, entry.timbre, seen=(part,)))
        shown.append(shape)
    if off_screen:
        timbres = [timbre for timbre in TIMBRES if not any((shape, timbre) in pairs for shape in shown)]
        timbre = timbres[int(rng.integers(len(timbres)))]
        things.append(Thing(entry.shape, MOVES[int(rng.integers(len(MOVES)))], timbre, heard=(part,)))
    return things
