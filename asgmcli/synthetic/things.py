"""Clips as lists of things: what each looks and sounds like, and when it is seen and heard.

Frames, sound and every truth are rendered from this one list. A thing that sounds while it is not to be seen is the
sound from outside the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asgmcli.data.segments import Span
from asgmcli.synthetic.acts import ACTS
from asgmcli.synthetic.backgrounds import Background, draw_background, pan_photograph, render_background
from asgmcli.synthetic.cutouts import cut_picture
from asgmcli.synthetic.difficulty import DEMO
from asgmcli.synthetic.material import Files, read_cutout, read_recording
from asgmcli.synthetic.motions import Clock, Pose, clock_at
from asgmcli.synthetic.scenes import place
from asgmcli.synthetic.sounds import AUDIO_RATE, draw_floor, excerpt, gate, mix, play
from asgmcli.synthetic.sprites import Layer, coloured, paint_layer
from asgmcli.synthetic.stickers import cut_sticker, draw_colours

TILT = 0.25  # radians a thing at rest may be turned
BODY = 0.5  # share of a pixel that a mask's thing covers
APART_FPS = 8  # frames a second at which things are kept apart
FAINT = 0.22  # share of their opacity that things have in a clip's faint times
COVER_DB = 9.0  # that noise is above a thing without a lead in a clip's covered times
Times = tuple[tuple[float, float], ...]
"""Intervals from (inclusive) to (exclusive), seconds."""

WORLD = replace(DEMO, diameter=(0.32, 0.40), three_sprites=0.3, pan=(0.0, 0.06), noise=(12.0, 28.0),
                other=(8.0, 22.0), other_share=0.3)  # fmt: skip
"""How clips are drawn: large things, mostly two of them, and a sound that is well to be heard."""
MARK = {"world": "stickers"}
"""Settings that tell data sets of such clips from earlier ones of their names."""


@dataclass(frozen=True)
class Thing:
    """One thing of a clip.

    Attributes:
        kind: its name.
        glyph: that its sticker shows; "" for a photograph.
        timbre: of its sound, or the name of the recordings that it has.
        motion: one of ACTS.
        visible: when it is to be seen; none: never.
        sounding: when it is to be heard; none: never.
        lead: loudness against the loudest thing, dB, 0 or less.
        rests: it holds still, in a pose that its motion has at some time.
    """

    kind: str
    glyph: str
    timbre: str
    motion: str
    visible: Times = ()
    sounding: Times = ()
    lead: float = 0.0
    rests: bool = False


@dataclass(frozen=True)
class Clip:
    """The things of a clip and its length in seconds; `things` in painting order, the nearest last.

    In the times of `faint` things hardly show, in those of `covered` noise covers what sounds.
    """

    things: tuple[Thing, ...]
    seconds: float
    faint: Times = ()
    covered: Times = ()

    def segments(self) -> list[Span]:
        """Return what is heard and what is seen when: spans of `audio` and `visual`, thing by thing."""
        return [
            Span(start, end, thing.kind, modality=modality)
            for thing in self.things
            for modality, times in (("audio", thing.sounding), ("visual", thing.visible))
            for start, end in times
        ]

    def sources(self) -> list[int]:
        """Return the numbers of the things that are seen and heard, at any time."""
        return [n for n, thing in enumerate(self.things) if thing.visible and thing.sounding]


@dataclass(frozen=True)
class Player:
    """How a thing is staged.

    `radius` and `home` (x, y) in frame sides, `colours` [3, 3] of its sticker, `tilt` in radians; `picture` and
    `recording` are files in place of sticker and timbre.
    """

    clock: Clock
    radius: float
    home: tuple[float, float]
    colours: np.ndarray
    tilt: float
    picture: Path | None = None
    recording: Path | None = None


@dataclass(frozen=True)
class Stage:
    """A clip before it is rendered: its ground, or a photograph in its place, and how each of its things is staged."""

    clip: Clip
    ground: Background
    players: tuple[Player, ...]
    photograph: Path | None = None

    def pose(self, number: int, times: np.ndarray) -> Pose:
        """Return a thing's pose at `times` (seconds)."""
        player, motion = self.players[number], ACTS[self.clip.things[number].motion].motion
        shift = motion.pose(player.clock.cycles(times), player.clock)
        x, y = player.home
        return replace(shift, x=shift.x + x, y=shift.y + y, angle=shift.angle + player.tilt)


def draw_stage(rng: np.random.Generator, clip: Clip, files: Files | None = None) -> Stage:
    """Draw ground, sizes, colours, tempos and places; all things are drawn alike, and kept apart where possible.

    `files` take the place of glyphs, timbres and textures; what they lack is generated.
    """
    ground = draw_background(rng, WORLD.pan)
    stage = Stage(clip, ground, tuple(_player(rng, thing) for thing in clip.things))
    seen = [number for number, thing in enumerate(clip.things) if thing.visible]
    if seen:
        times = np.arange(max(1, round(clip.seconds * APART_FPS))) / APART_FPS
        homes = place(
            rng,
            np.array([stage.players[number].radius for number in seen]),
            np.array([ACTS[clip.things[number].motion].motion.reach for number in seen]),
            [stage.pose(number, times) for number in seen],
        )
        placed = list(stage.players)
        for number, (x, y) in zip(seen, homes, strict=True):
            placed[number] = replace(placed[number], home=(float(x), float(y)))
        stage = replace(stage, players=tuple(placed))
    return stage if files is None else _with_files(rng, stage, files)


def render_frames(stage: Stage, times: np.ndarray, size: int) -> np.ndarray:
    """Render the clip at `times` (seconds) as uint8 [T, size, size, 3]."""
    if stage.photograph is None:
        canvas = render_background(stage.ground, times, size)
    else:
        canvas = pan_photograph(read_cutout(stage.photograph, "RGB"), stage.ground.velocity, times, size)
    for number, thing in enumerate(stage.clip.things):
        shown = _within(thing.visible, times)
        if shown.all():
            paint_layer(canvas, _painted(stage, number, times, size))
        elif shown.any():
            part = canvas[shown]
            paint_layer(part, _painted(stage, number, times[shown], size))
            canvas[shown] = part
    frames: np.ndarray = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    return frames


def sounding_masks(stage: Stage, times: np.ndarray, size: int) -> np.ndarray:
    """Return the pixels of what is seen and heard at `times`, bool [T, size, size], less what nearer things cover."""
    masks = np.zeros((len(times), size, size), dtype=bool)
    for number, thing in enumerate(stage.clip.things):
        shown, heard = _within(thing.visible, times), _within(thing.sounding, times)
        layer = _layer(stage, number, times, size)
        for frame in map(int, np.flatnonzero(shown)):
            rows, columns, inner_rows, inner_columns = layer.spans(frame, size)
            covered = layer.alpha[frame, inner_rows, inner_columns] > BODY
            region = masks[frame, rows, columns]
            masks[frame, rows, columns] = region | covered if heard[frame] else region & ~covered
    return masks


def boxes(stage: Stage, number: int, times: np.ndarray, size: int) -> np.ndarray:
    """Return a thing's boxes, int [T, 4]: x1, y1, x2, y2 in pixels, right and bottom exclusive."""
    return _layer(stage, number, times, size).boxes(size)


def render_sound(rng: np.random.Generator, stage: Stage) -> np.ndarray:
    """Return the clip's sound, float32 [S] at 16 kHz: each thing in its times, over a floor of noise."""
    samples = round(stage.clip.seconds * AUDIO_RATE)
    total = np.zeros(samples, np.float32)
    for thing, player in zip(stage.clip.things, stage.players, strict=True):
        if thing.sounding:
            if player.recording is None:
                envelope = ACTS[thing.motion].envelope
                wave = play(rng, thing.timbre, envelope, player.clock, WORLD, samples, AUDIO_RATE)
            else:
                wave = excerpt(rng, read_recording(player.recording), samples)
            if thing.sounding != ((0.0, stage.clip.seconds),):
                wave = wave * gate(thing.sounding, samples, AUDIO_RATE)
            total += np.float32(10 ** (thing.lead / 20)) * wave
    if stage.clip.covered:
        noise = draw_floor(rng, samples, AUDIO_RATE) * gate(stage.clip.covered, samples, AUDIO_RATE)
        total += (10 ** (COVER_DB / 20) * noise).astype(np.float32)
    return mix(rng, total, None, WORLD, AUDIO_RATE)


def _player(rng: np.random.Generator, thing: Thing) -> Player:
    radius = rng.uniform(*WORLD.diameter) / 2
    clock = clock_at(rng, ACTS[thing.motion].motion.rate)
    if thing.rests:
        clock = replace(clock, rate=0.0)
    return Player(clock, radius, (0.5, 0.5), draw_colours(rng), rng.uniform(-TILT, TILT))


def _with_files(rng: np.random.Generator, stage: Stage, files: Files) -> Stage:
    """Draw the file of each thing that has some, and of the ground."""

    def one_of(paths: Sequence[Path]) -> Path | None:
        return paths[int(rng.integers(len(paths)))] if paths else None

    players = tuple(
        replace(
            player,
            picture=one_of(files.pictures.get(thing.kind, ())),
            recording=one_of(files.recordings.get(thing.timbre, ())),
        )
        for thing, player in zip(stage.clip.things, stage.players, strict=True)
    )
    return replace(stage, players=players, photograph=one_of(files.grounds))


def _layer(stage: Stage, number: int, times: np.ndarray, size: int) -> Layer:
    thing, player, pose = stage.clip.things[number], stage.players[number], stage.pose(number, times)
    if player.picture is not None:
        return cut_picture(player.picture, pose, player.radius, size)
    return coloured(cut_sticker(thing.glyph, pose, player.radius, size), player.colours)


def _painted(stage: Stage, number: int, times: np.ndarray, size: int) -> Layer:
    """Return a thing as it is to be seen: faint in the clip's faint times."""
    layer = _layer(stage, number, times, size)
    if not stage.clip.faint:
        return layer
    strength = np.where(_within(stage.clip.faint, times), np.float32(FAINT), np.float32(1))
    return replace(layer, alpha=layer.alpha * strength[:, None, None])


def _within(intervals: Sequence[tuple[float, float]], times: np.ndarray) -> np.ndarray:
    """Return which of `times` lie in an interval, bool [T]."""
    inside = np.zeros(len(times), bool)
    for start, end in intervals:
        inside |= (times >= start) & (times < end)
    return inside
