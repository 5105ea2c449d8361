"""All numbers that make generated clips easy or hard, in one place."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]
"""Lowest and highest value of a uniform draw."""


@dataclass(frozen=True)
class Difficulty:
    """The ranges that clips are drawn from.

    `diameter` is a sprite's size in frame sides; `three_sprites` the probability of a third sprite (pretext clips draw
    their own number); `pan` the background's speed in frame sides a second. `pitch` is in hertz, drawn evenly in
    octaves, the same for every timbre, so that pitch tells nothing. `partial_jitter` (dB, standard deviation) and
    `tilt` (dB an octave) blur a timbre. `level` is the source's loudness (dB re full scale); `noise` and `other` are
    the source's lead over the noise floor and over the off-screen sound (dB; negative: the other is louder), and
    `other_share` is how often that sound is there.
    """

    diameter: Range
    three_sprites: float
    pan: Range
    pitch: Range
    partial_jitter: float
    tilt: Range
    level: Range
    noise: Range
    other: Range
    other_share: float


# Frozen: what other worlds take over from it decides their clips, and figures are comparable only while these stay.
DEMO = Difficulty(
    diameter=(0.24, 0.32),
    three_sprites=0.5,
    pan=(0.03, 0.12),
    pitch=(150.0, 600.0),
    partial_jitter=3.0,
    tilt=(-3.0, 3.0),
    level=(-30.0, -16.0),
    noise=(6.0, 28.0),
    other=(0.0, 22.0),
    other_share=0.75,
)

PRETEXT = Difficulty(
    diameter=(0.22, 0.34),
    three_sprites=0.0,
    pan=(0.0, 0.15),
    pitch=(150.0, 700.0),
    partial_jitter=3.0,
    tilt=(-3.0, 3.0),
    level=(-32.0, -14.0),
    noise=(5.0, 30.0),
    other=(6.0, 20.0),
    other_share=0.3,
)
