"""Motions: where a sprite is, how large and how turned, as a function of cycles (its rate times time plus phase)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from asgmcli.synthetic.difficulty import Range

TABLE = 16  # random places kept for motions that jump
TURN = 2 * np.pi


@dataclass(frozen=True)
class Pose:
    """Arrays [T]: centre `x`, `y` in frame sides, `scale_x`, `scale_y` (1 = at rest), `angle` in radians."""

    x: np.ndarray
    y: np.ndarray
    scale_x: np.ndarray
    scale_y: np.ndarray
    angle: np.ndarray


@dataclass(frozen=True)
class Clock:
    """One performance of a motion: `rate` in cycles a second, `phase` in cycles, `sign` -1 or 1, `table` [16, 2]."""

    rate: float
    phase: float
    sign: float
    table: np.ndarray

    def cycles(self, times: np.ndarray) -> np.ndarray:
        """Return the cycles passed at `times` (seconds)."""
        return self.rate * times + self.phase


@dataclass(frozen=True)
class Motion:
    """A motion's tempo, its reach, and its pose at given cycles.

    `rate` is in cycles a second; `reach` is the largest shift from home in x and y, in frame sides; `pose` takes
    cycles [T] and the clock and returns shifts from home.
    """

    rate: Range
    reach: tuple[float, float]
    pose: Callable[[np.ndarray, Clock], Pose]


def pose_of(
    u: np.ndarray,
    x: np.ndarray | float = 0.0,
    y: np.ndarray | float = 0.0,
    scale_x: np.ndarray | float = 1.0,
    scale_y: np.ndarray | float = 1.0,
    angle: np.ndarray | float = 0.0,
) -> Pose:
    """Return the pose at cycles `u` [T] of the shifts given; a number is the same at all of them."""
    x, y, scale_x, scale_y, angle = (
        np.broadcast_to(np.asarray(v, float), u.shape) for v in (x, y, scale_x, scale_y, angle)
    )
    return Pose(x, y, scale_x, scale_y, angle)


def triangle(u: np.ndarray) -> np.ndarray:
    """Return a wave from -1 up to 1 and back in one cycle, at constant speed."""
    wave: np.ndarray = 1 - 4 * np.abs(np.mod(u, 1.0) - 0.5)
    return wave


def entry(table: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the table's row for each whole cycle."""
    rows: np.ndarray = table[np.floor(u).astype(np.int64) % len(table)]
    return rows


def _bounce(u: np.ndarray, _: Clock) -> Pose:
    within = np.mod(u, 1.0)
    return pose_of(u, y=0.15 - 0.30 * 4 * within * (1 - within))


def _spin(u: np.ndarray, clock: Clock) -> Pose:
    return pose_of(u, angle=clock.sign * TURN * u)


def _pulse(u: np.ndarray, _: Clock) -> Pose:
    scale = 1 + 0.3 * np.sin(TURN * u)
    return pose_of(u, scale_x=scale, scale_y=scale)


def _shake(u: np.ndarray, _: Clock) -> Pose:
    return pose_of(u, x=0.04 * np.sin(TURN * u), y=0.02 * np.sin(TURN * 1.3 * u), angle=0.2 * np.sin(TURN * 0.9 * u))


def _sweep(u: np.ndarray, clock: Clock) -> Pose:
    return pose_of(u, x=clock.sign * 0.30 * triangle(u))


def _orbit(u: np.ndarray, clock: Clock) -> Pose:
    return pose_of(u, x=0.17 * clock.sign * np.cos(TURN * u), y=0.17 * np.sin(TURN * u))


def _zigzag(u: np.ndarray, clock: Clock) -> Pose:
    return pose_of(u, x=clock.sign * 0.24 * triangle(u / 5), y=0.11 * triangle(u))


def _swing(u: np.ndarray, _: Clock) -> Pose:
    angle = 0.9 * np.sin(TURN * u)
    return pose_of(u, x=0.26 * np.sin(angle), y=0.26 * (np.cos(angle) - 0.81), angle=-angle)


def _jump(u: np.ndarray, clock: Clock) -> Pose:
    place = 0.2 * entry(clock.table, u)
    return pose_of(u, x=place[:, 0], y=place[:, 1])


def _stretch(u: np.ndarray, _: Clock) -> Pose:
    wave = 0.35 * np.sin(TURN * u)
    return pose_of(u, scale_x=1 - wave, scale_y=1 + wave)


def _fall(u: np.ndarray, _: Clock) -> Pose:
    return pose_of(u, y=0.56 * np.mod(u, 1.0) ** 2 - 0.28)


def _rise(u: np.ndarray, _: Clock) -> Pose:
    return pose_of(u, y=0.28 - 0.56 * np.mod(u, 1.0))


def _eight(u: np.ndarray, clock: Clock) -> Pose:
    return pose_of(u, x=clock.sign * 0.24 * np.sin(TURN * u), y=0.12 * np.sin(2 * TURN * u))


def _corner(u: np.ndarray, clock: Clock) -> Pose:
    along = 2 * triangle(u)
    return pose_of(u, x=clock.sign * 0.2 * np.clip(along + 1, -1, 1), y=0.2 * np.clip(along - 1, -1, 1))


def _lunge(u: np.ndarray, clock: Clock) -> Pose:
    within = np.mod(u, 1.0)
    out = np.where(within < 0.25, within / 0.25, (1 - within) / 0.75) ** 1.5
    return pose_of(u, x=clock.sign * 0.24 * (2 * out - 1), y=0.24 * (2 * out - 1))


def _flip(u: np.ndarray, _: Clock) -> Pose:
    return pose_of(u, scale_x=np.maximum(np.abs(np.cos(np.pi * u)), 0.15))


def _nod(u: np.ndarray, _: Clock) -> Pose:
    return pose_of(u, angle=1.0 * np.sin(TURN * u))


def _stairs(u: np.ndarray, clock: Clock) -> Pose:
    step = np.abs(np.mod(np.floor(u), 8) - 4) / 2 - 1
    return pose_of(u, x=clock.sign * 0.22 * step, y=0.22 * step)


MOTIONS: dict[str, Motion] = {
    "bounce": Motion((0.9, 1.5), (0.0, 0.15), _bounce),
    "spin": Motion((0.5, 0.9), (0.0, 0.0), _spin),
    "pulse": Motion((0.8, 1.4), (0.0, 0.0), _pulse),
    "shake": Motion((2.6, 3.4), (0.04, 0.02), _shake),
    "sweep": Motion((0.35, 0.6), (0.30, 0.0), _sweep),
    "orbit": Motion((0.6, 1.0), (0.17, 0.17), _orbit),
    "zigzag": Motion((1.2, 1.7), (0.24, 0.11), _zigzag),
    "swing": Motion((0.6, 1.0), (0.21, 0.05), _swing),
    "jump": Motion((1.6, 2.4), (0.2, 0.2), _jump),
    "stretch": Motion((0.7, 1.2), (0.0, 0.0), _stretch),
    "fall": Motion((0.6, 1.1), (0.0, 0.28), _fall),
    "rise": Motion((0.5, 0.9), (0.0, 0.28), _rise),
    "eight": Motion((0.5, 0.8), (0.24, 0.12), _eight),
    "corner": Motion((0.5, 0.8), (0.2, 0.2), _corner),
    "lunge": Motion((0.7, 1.2), (0.24, 0.24), _lunge),
    "flip": Motion((0.8, 1.4), (0.0, 0.0), _flip),
    "nod": Motion((0.7, 1.3), (0.0, 0.0), _nod),
    "stairs": Motion((1.8, 2.6), (0.22, 0.22), _stairs),
}


def draw_clock(rng: np.random.Generator, motion: str) -> Clock:
    """Draw a performance of `motion`, by its name."""
    return clock_at(rng, MOTIONS[motion].rate)


def clock_at(rng: np.random.Generator, rate: Range) -> Clock:
    """Draw a performance at a tempo in `rate` (cycles a second): phase, direction and places at random."""
    low, high = rate
    phase = rng.uniform(0, TABLE)
    return Clock(rng.uniform(low, high), phase, float(rng.choice((-1.0, 1.0))), _places(rng))


def _places(rng: np.random.Generator) -> np.ndarray:
    """Draw places in [-1, 1] x [-1, 1], each well apart from the one before, so that a jump is visible."""
    places = rng.uniform(-1, 1, (TABLE, 2))
    near = np.abs(places - np.roll(places, 1, axis=0)).max(axis=1) < 0.6
    places[near, 0] -= np.sign(places[near, 0]) * 0.8
    return places
