"""The pretext's clips: generated shapes, motions and sounds none of which the demo data set uses.

A small network has no ImageNet or AudioSet weights to start from; telling what is in these clips is its stand-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from asgmcli.errors import UsageError
from asgmcli.synthetic.difficulty import PRETEXT
from asgmcli.synthetic.making import in_processes
from asgmcli.synthetic.motions import draw_clock
from asgmcli.synthetic.scenes import Scene, draw_scene, render
from asgmcli.synthetic.sounds import mix, play

SHAPES = ("disc", "square", "hexagon", "rhombus", "pill", "half-disc", "letter-l", "letter-t", "chevron", "hourglass")
MOTIONS = ("fall", "rise", "eight", "corner", "lunge", "flip", "nod", "stairs")
TIMBRES = ("vowel", "chord", "glass", "rumble", "fifths", "growl", "breath", "brass", "clank", "tines")
ENVELOPES = ("double", "ramp", "triplet", "warble", "dive", "notch", "scale", "burst")
SPRITES = (1, 2, 3)
CHUNK = 50  # clips a task; small counts are drawn in this process


@dataclass
class PretextClips:
    """Generated clips and what is in them.

    `frames` uint8 [n, T, s, s, 3]; `waves` float32 [n, S]; `shapes` bool [n, Ks] and `motions` bool [n, Km]: which are
    to be seen; `timbre` and `envelope` int64 [n]: what is to be heard. `cast` int64 [n, A, 2]: each sprite's shape and
    motion, -1 where there are fewer than A = 3; `places` float32 [n, A, T, 3]: its centre x, y and its radius, in frame
    sides, NaN where there is none. Numbers index SHAPES, MOTIONS, TIMBRES, ENVELOPES of this module.
    """

    frames: np.ndarray
    waves: np.ndarray
    shapes: np.ndarray
    motions: np.ndarray
    timbre: np.ndarray
    envelope: np.ndarray
    cast: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class _PretextSettings:
    seed: int
    size: int
    frames: int
    stride: int
    fps: float
    rate: int
    seconds: float
    pictures: bool


def generate(
    count: int,
    *,
    seed: int,
    size: int = 48,
    frames: int = 8,
    stride: int = 2,
    fps: float = 8.0,
    rate: int = 16_000,
    seconds: float = 2.0,
    pictures: bool = True,
    workers: int | None = None,
) -> PretextClips:
    """Generate `count` clips; clip i depends on `seed` and i alone.

    Args:
        count: number of clips n.
        seed: another seed gives other clips.
        size: side of a frame in pixels.
        frames: frames T a clip, `stride` frames of `fps` a second apart.
        stride: step between the frames kept.
        fps: frames a second before the stride.
        rate: samples a second of the sound.
        seconds: length of the sound, S = rate x seconds.
        pictures: without them `frames` is [n, 0, s, s, 3]; the sounds are the same.
        workers: processes; None takes the machine's cores, 0 or 1 this process alone.

    Raises:
        UsageError: count, size, frames, stride, fps, rate or seconds is not above zero, or the seed is below it.
    """
    settings = _PretextSettings(seed, size, frames, stride, fps, rate, seconds, pictures)
    wrong = [
        f"{name} = {value}"
        for name, value in {"count": count, **vars(settings)}.items()
        if name not in ("seed", "pictures") and value <= 0
    ]
    if wrong:
        raise UsageError(f"The pretext's clips cannot be generated with {', '.join(wrong)}; give values above zero.")
    samples = round(rate * seconds)
    data = PretextClips(
        frames=np.empty((count, frames if pictures else 0, size, size, 3), np.uint8),
        waves=np.empty((count, samples), np.float32),
        shapes=np.zeros((count, len(SHAPES)), bool),
        motions=np.zeros((count, len(MOTIONS)), bool),
        timbre=np.empty(count, np.int64),
        envelope=np.empty(count, np.int64),
        cast=np.empty((count, max(SPRITES), 2), np.int64),
        places=np.empty((count, max(SPRITES), frames, 3), np.float32),
    )
    starts = range(0, count, CHUNK)
    for start, part in zip(starts, in_processes(partial(_chunk, settings, count), starts, workers), strict=True):
        for name, values in vars(part).items():
            getattr(data, name)[start : start + len(values)] = values
    return data


def _chunk(settings: _PretextSettings, count: int, start: int) -> PretextClips:
    clips = [_clip(settings, number) for number in range(start, min(start + CHUNK, count))]
    return PretextClips(*(np.stack(field) for field in zip(*clips, strict=True)))


def _clip(settings: _PretextSettings, number: int) -> tuple[np.ndarray, ...]:
    """Return one clip's fields, in the order of PretextClips."""
    picture, sound = (np.random.default_rng(s) for s in np.random.SeedSequence([settings.seed, number]).spawn(2))
    sprites = int(picture.choice(SPRITES))
    shapes = picture.choice(len(SHAPES), sprites, replace=False)
    motions = picture.choice(len(MOTIONS), sprites, replace=False)
    cast = [(SHAPES[s], MOTIONS[m]) for s, m in zip(shapes, motions, strict=True)]
    times = np.arange(settings.frames) * settings.stride / settings.fps
    scene = draw_scene(picture, cast, PRETEXT, times)
    clock = scene.actors[scene.source].clock
    timbres = sound.choice(len(TIMBRES), 2, replace=False)
    envelopes = sound.choice(len(ENVELOPES), 2, replace=False)
    samples = round(settings.rate * settings.seconds)
    voice = partial(play, sound, difficulty=PRETEXT, samples=samples, rate=settings.rate)
    source = voice(TIMBRES[timbres[0]], ENVELOPES[envelopes[0]], clock)
    other = None
    if sound.random() < PRETEXT.other_share:
        unseen = draw_clock(sound, MOTIONS[int(sound.integers(len(MOTIONS)))])
        other = voice(TIMBRES[timbres[1]], ENVELOPES[envelopes[1]], unseen)
    return (
        render(scene, times, settings.size) if settings.pictures else np.empty((0, settings.size, settings.size, 3)),
        mix(sound, source, other, PRETEXT, settings.rate),
        np.isin(np.arange(len(SHAPES)), shapes),
        np.isin(np.arange(len(MOTIONS)), motions),
        timbres[0],
        envelopes[0],
        *_whereabouts(scene, times),
    )


def _whereabouts(scene: Scene, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `cast` [A, 2] and `places` [A, T, 3] of a scene's sprites, in painting order."""
    cast = np.full((max(SPRITES), 2), -1, np.int64)
    places = np.full((max(SPRITES), len(times), 3), np.nan, np.float32)
    for number, actor in enumerate(scene.actors):
        pose = actor.pose(times)
        cast[number] = SHAPES.index(actor.shape), MOTIONS.index(actor.motion)
        places[number] = np.stack([pose.x, pose.y, np.full_like(pose.x, actor.radius)], axis=-1)
    return cast, places
