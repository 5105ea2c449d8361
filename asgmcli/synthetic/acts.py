"""How the things of the generated world move, and the envelope by which each motion is heard.

Motions reach little, so that large things stay in the frame (what a thing grows by counts as its reach); synchrony
tells which thing sounds, never what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asgmcli.synthetic.motions import MOTIONS, TURN, Clock, Motion, Pose, pose_of


@dataclass(frozen=True)
class Act:
    """A motion, and the name of the envelope of the sound that it makes."""

    motion: Motion
    envelope: str


def _hop(u: np.ndarray, _: Clock) -> Pose:
    within = np.mod(u, 1.0)
    return pose_of(u, y=0.1 - 0.2 * 4 * within * (1 - within))


def _pulse(u: np.ndarray, _: Clock) -> Pose:
    scale = 1 + 0.17 * np.sin(TURN * u)
    return pose_of(u, scale_x=scale, scale_y=scale)


def _nod(u: np.ndarray, _: Clock) -> Pose:
    return pose_of(u, angle=0.45 * np.sin(TURN * u))


def _squash(u: np.ndarray, _: Clock) -> Pose:
    wave = 0.25 * np.sin(TURN * u)
    return pose_of(u, scale_x=1 - wave, scale_y=1 + wave)


def _sway(u: np.ndarray, clock: Clock) -> Pose:
    return pose_of(u, x=0.1 * clock.sign * np.cos(TURN * u), y=0.03 * np.sin(2 * TURN * u))


ACTS: dict[str, Act] = {
    "hop": Act(Motion((0.9, 1.5), (0.0, 0.1), _hop), "bounce"),
    "shake": Act(MOTIONS["shake"], "shake"),
    "pulse": Act(Motion((0.8, 1.4), (0.03, 0.03), _pulse), "pulse"),
    "nod": Act(Motion((0.7, 1.3), (0.0, 0.0), _nod), "swing"),
    "squash": Act(Motion((0.7, 1.2), (0.05, 0.05), _squash), "stretch"),
    "sway": Act(Motion((0.6, 1.0), (0.1, 0.03), _sway), "orbit"),
}
