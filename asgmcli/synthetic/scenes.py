"""Scenes: a background and a few sprites with their motions, one of them the source of the sound."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from asgmcli.synthetic.backgrounds import Background, draw_background, render_background
from asgmcli.synthetic.difficulty import Difficulty
from asgmcli.synthetic.motions import MOTIONS, Clock, Pose, draw_clock
from asgmcli.synthetic.sprites import cut, paint

PLACINGS = 128  # arrangements tried; the first in which no two sprites come too close is taken, else the best
APART = 0.8  # centres stay this many times the sum of the two radii apart
MARGIN = 0.95  # of the radius, between a sprite's furthest place and the frame's edge
TILT = 0.35  # radians a sprite at rest may be turned


@dataclass(frozen=True)
class Actor:
    """A sprite and what it does: `radius` and `home` (x, y) in frame sides, `colours` [3, 3], `tilt` in radians."""

    shape: str
    motion: str
    clock: Clock
    radius: float
    home: tuple[float, float]
    colours: np.ndarray
    tilt: float

    def pose(self, times: np.ndarray) -> Pose:
        """Return the sprite's pose at `times` (seconds)."""
        shift = MOTIONS[self.motion].pose(self.clock.cycles(times), self.clock)
        return replace(shift, x=shift.x + self.home[0], y=shift.y + self.home[1], angle=shift.angle + self.tilt)


@dataclass(frozen=True)
class Scene:
    """The content of a clip: actors in painting order; `source` is the number of the one that sounds."""

    background: Background
    actors: tuple[Actor, ...]
    source: int


def draw_scene(
    rng: np.random.Generator,
    cast: Sequence[tuple[str, str]],
    difficulty: Difficulty,
    times: np.ndarray,
) -> Scene:
    """Draw a scene with the (shape, motion) pairs of `cast`, the first of which sounds.

    The source is drawn and placed like the others: only the sound tells it. Sprites stay apart at `times` (seconds).
    """
    background = draw_background(rng, difficulty.pan)
    order = rng.permutation(len(cast))
    actors = [draw_actor(rng, cast[number], difficulty) for number in order]
    homes = place_actors(rng, actors, times)
    placed = tuple(replace(actor, home=(float(x), float(y))) for actor, (x, y) in zip(actors, homes, strict=True))
    return Scene(background, placed, int(np.flatnonzero(order == 0)[0]))


def render(scene: Scene, times: np.ndarray, size: int) -> np.ndarray:
    """Render the scene at `times` (seconds) as uint8 [T, size, size, 3]."""
    canvas = render_background(scene.background, times, size)
    for actor in scene.actors:
        paint(canvas, cut(actor.shape, actor.pose(times), actor.radius, size), actor.colours)
    frames: np.ndarray = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    return frames


def draw_actor(rng: np.random.Generator, pair: tuple[str, str], difficulty: Difficulty) -> Actor:
    """Draw a sprite of a (shape, motion) pair, in the middle of the frame."""
    shape, motion = pair
    radius = rng.uniform(*difficulty.diameter) / 2
    hue, value = rng.random(), rng.uniform(0.55, 1.0)
    first = colorsys.hsv_to_rgb(hue, rng.uniform(0.4, 1.0), value)
    second = colorsys.hsv_to_rgb((hue + rng.uniform(-0.15, 0.15)) % 1, rng.uniform(0.3, 0.9), 0.6 * value)
    outline = (0.05, 0.05, 0.08) if np.dot(first, (0.3, 0.6, 0.1)) > 0.5 else (0.96, 0.96, 0.94)
    tilt = rng.uniform(-TILT, TILT)
    return Actor(shape, motion, draw_clock(rng, motion), radius, (0.5, 0.5), np.array([outline, first, second]), tilt)


def place_actors(rng: np.random.Generator, actors: Sequence[Actor], times: np.ndarray) -> np.ndarray:
    """Draw homes [A, 2] that keep the sprites inside the frame and, where possible, apart at all `times`."""
    radii = np.array([actor.radius for actor in actors])
    reaches = np.array([MOTIONS[actor.motion].reach for actor in actors])
    return place(rng, radii, reaches, [actor.pose(times) for actor in actors])


def place(rng: np.random.Generator, radii: np.ndarray, reaches: np.ndarray, poses: Sequence[Pose]) -> np.ndarray:
    """Draw homes [A, 2] for things of `radii` [A] that reach [A, 2] away from home, by their poses at home (.5, .5)."""
    low = reaches + MARGIN * radii[:, None]
    low = np.minimum(low, 0.5)
    homes = rng.uniform(low, 1 - low, (PLACINGS, len(radii), 2))
    shifts = np.stack([np.stack([pose.x - 0.5, pose.y - 0.5], axis=-1) for pose in poses])  # [A, T, 2]
    closest = np.full(PLACINGS, np.inf)
    for one in range(len(radii)):
        for two in range(one):
            gap = homes[:, one, None] + shifts[one] - homes[:, two, None] - shifts[two]  # [placings, T, 2]
            apart = np.hypot(gap[..., 0], gap[..., 1]).min(axis=1) / (radii[one] + radii[two])
            closest = np.minimum(closest, apart)
    good = np.flatnonzero(closest >= APART)
    chosen: np.ndarray = homes[good[0] if len(good) else int(closest.argmax())]
    return chosen
