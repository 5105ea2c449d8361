"""Generated clips with events: things that are seen and heard in some of a clip's seconds.

A clip is a list of things, drawn and rendered from seed, split and index alone. Two data sets are made of such clips:
`demo_parsing`, whose classes have a shape and a timbre of their own each, and `demo_events`, whose classes share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from asgmcli.data.manifest import SPLITS
from asgmcli.data.segments import Span
from asgmcli.synthetic.backgrounds import Background, draw_background, render_background
from asgmcli.synthetic.difficulty import Difficulty
from asgmcli.synthetic.scenes import Actor, draw_actor, place_actors
from asgmcli.synthetic.sounds import play
from asgmcli.synthetic.sprites import cut, paint

AUDIO_RATE = 16_000
SECONDS = 10
RAMP_S = 0.03  # over which a sound begins and ends
FAINT = 0.22  # share of its opacity that a faint sprite has
COVER_DB = 9.0  # that noise is above the loudest sound in a second that it covers
PEAK = 0.98
Seconds = tuple[int, int]
"""Whole seconds from the first (inclusive) to the last (exclusive)."""

EVENTS = Difficulty(
    diameter=(0.24, 0.32),
    three_sprites=0.0,
    pan=(0.0, 0.05),
    pitch=(150.0, 600.0),
    partial_jitter=3.0,
    tilt=(-3.0, 3.0),
    level=(-26.0, -16.0),
    noise=(10.0, 26.0),
    other=(0.0, 0.0),
    other_share=0.0,
)
"""How the clips are drawn; `noise` is what the floor lies below the loudest thing, dB."""


@dataclass(frozen=True)
class EventClass:
    """A class: what it looks like, how it moves ("" where it has no motion of its own), what it sounds like."""

    shape: str
    motion: str
    timbre: str
    name: str


@dataclass(frozen=True)
class Thing:
    """Something in a clip.

    Attributes:
        shape: of its sprite.
        motion: of its sprite, and how its sound goes.
        timbre: of its sound.
        seen: seconds in which its sprite shows, none for something that is heard alone.
        heard: seconds in which it sounds, none for something that is silent.
        label: its class, "" for what is no event.
    """

    shape: str
    motion: str
    timbre: str
    seen: tuple[Seconds, ...] = ()
    heard: tuple[Seconds, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Content:
    """The events of a clip.

    Attributes:
        things: in any order.
        faint: seconds in which sprites hardly show.
        covered: seconds in which noise covers the sound.
    """

    things: tuple[Thing, ...]
    faint: tuple[int, ...] = ()
    covered: tuple[int, ...] = ()

    def spans(self) -> list[Span]:
        """Return its events, those of each class in turn: seconds, class, and `audio` or `visual`."""
        return [
            Span(float(start), float(end), thing.label, modality=modality)
            for thing in self.things
            if thing.label
            for modality, parts in (("audio", thing.heard), ("visual", thing.seen))
            for start, end in parts
        ]

    def joint_spans(self) -> list[Span]:
        """Return its events that are seen and heard at once, by start."""
        found = [
            Span(float(max(heard[0], seen[0])), float(min(heard[1], seen[1])), thing.label)
            for thing in self.things
            if thing.label
            for heard in thing.heard
            for seen in thing.seen
        ]
        return sorted((span for span in found if span.end > span.start), key=lambda span: span.start)


@dataclass(frozen=True)
class Stage:
    """A clip's picture before it is rendered: the background, and the actor and clock of each thing."""

    background: Background
    actors: tuple[Actor, ...]


def random_of(seed: int, split: str, index: int, stream: int) -> np.random.Generator:
    """Return the random numbers of one clip, one stream for each thing that is drawn."""
    return np.random.default_rng([seed, SPLITS.index(split), index, stream, 17])


def draw_stage(rng: np.random.Generator, content: Content) -> Stage:
    """Draw where and how the things of a clip move; those that are heard alone get a clock only, and stay unseen."""
    times = np.arange(4 * SECONDS) / 4
    background = draw_background(rng, EVENTS.pan)
    actors = [draw_actor(rng, (thing.shape, thing.motion), EVENTS) for thing in content.things]
    seen = [number for number, thing in enumerate(content.things) if thing.seen]
    if seen:
        homes = place_actors(rng, [actors[number] for number in seen], times)
        for number, (x, y) in zip(seen, homes, strict=True):
            actors[number] = replace(actors[number], home=(float(x), float(y)))
    return Stage(background, tuple(actors))


def render_frames(content: Content, stage: Stage, size: int, fps: float) -> np.ndarray:
    """Render a clip's frames, uint8 [T, size, size, 3]: each sprite in its seconds alone."""
    times = np.arange(round(SECONDS * fps)) / fps
    canvas = render_background(stage.background, times, size)
    faint = np.isin(np.floor(times).astype(int), content.faint)
    for thing, actor in zip(content.things, stage.actors, strict=True):
        for start, end in thing.seen:
            shown = np.flatnonzero((times >= start) & (times < end))
            if len(shown) == 0:
                continue
            part = canvas[shown]
            patch = cut(actor.shape, actor.pose(times[shown]), actor.radius, size)
            strength = np.where(faint[shown], FAINT, 1.0)[:, None, None]
            paint(part, replace(patch, alpha=patch.alpha * strength), actor.colours)
            canvas[shown] = part
    frames: np.ndarray = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    return frames


def render_sound(rng: np.random.Generator, content: Content, stage: Stage) -> np.ndarray:
    """Return a clip's sound, float32 [S] at 16 kHz: each thing in its seconds alone, over a floor of noise."""
    samples = SECONDS * AUDIO_RATE
    total = np.zeros(samples, np.float32)
    loudest = -np.inf
    for thing, actor in zip(content.things, stage.actors, strict=True):
        if not thing.heard:
            continue
        lead = float(rng.uniform(-6, 6))
        wave = play(rng, thing.timbre, thing.motion, actor.clock, EVENTS, samples, AUDIO_RATE)
        total += (10 ** (lead / 20) * wave * _gate(thing.heard, samples)).astype(np.float32)
        loudest = max(loudest, lead)
    loudest = 0.0 if loudest == -np.inf else loudest
    floor = _floor(rng, samples)
    level = np.full(SECONDS, loudest - float(rng.uniform(*EVENTS.noise)))
    level[list(content.covered)] = loudest + COVER_DB
    total += floor * np.repeat(10 ** (level / 20), AUDIO_RATE).astype(np.float32)
    total *= np.float32(10 ** ((float(rng.uniform(*EVENTS.level)) - loudest) / 20))
    sound: np.ndarray = total / max(1.0, float(np.abs(total).max()) / PEAK)
    return sound.astype(np.float32)


def _gate(parts: Sequence[Seconds], samples: int) -> np.ndarray:
    """Return 1 within `parts` (whole seconds) and 0 without, with short ramps."""
    gate = np.zeros(samples)
    ramp = round(RAMP_S * AUDIO_RATE)
    for start, end in parts:
        first, after = start * AUDIO_RATE, end * AUDIO_RATE
        shape = np.ones(after - first)
        shape[:ramp] = np.linspace(0, 1, ramp)
        shape[-ramp:] = np.linspace(1, 0, ramp)
        gate[first:after] = shape
    return gate


def _floor(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Draw noise of root mean square 1, white to brown, float32 [S]."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / AUDIO_RATE), 40.0)
    wave = np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), samples)
    noise: np.ndarray = (wave / np.sqrt(np.mean(np.square(wave)))).astype(np.float32)
    return noise
