"""Sounds: a timbre played through an envelope that follows a motion's cycles, then mixed with what disturbs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from asgmcli.synthetic.difficulty import Difficulty, Range
from asgmcli.synthetic.motions import TURN, Clock, entry, triangle

AUDIO_RATE = 16_000
"""Samples a second of generated clips."""
CONTROL_RATE = 400  # envelope points a second, interpolated in between
HIGHEST = 0.45  # partials above this share of the sample rate are left out
QUIET = 1e-4  # root mean square that counts as silence
RAMP_S = 0.03  # over which a sound begins and ends
ATTACK = 0.01  # cycles until a struck sound is at its loudest


@dataclass(frozen=True)
class Timbre:
    """A tone colour: partials at `ratios` of the pitch with amplitudes `levels`, and noise.

    `modulation` (ratio, index) bends all partials' phases (FM); `noise` is the noise's share of the amplitude and
    `band` its lowest and highest frequency in hertz.
    """

    ratios: tuple[float, ...]
    levels: tuple[float, ...]
    modulation: tuple[float, float] = (1.0, 0.0)
    noise: float = 0.0
    band: Range = (200.0, 6000.0)


Envelope = Callable[[np.ndarray, Clock], tuple[np.ndarray, np.ndarray]]
"""Cycles [P] and the clock -> amplitude [P] in 0 to 1 and pitch shift [P] in semitones."""


def _series(count: int, power: float, step: int = 1) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return every `step`-th harmonic, falling as a power of its number."""
    numbers = range(1, step * count + 1, step)
    return tuple(float(n) for n in numbers), tuple(float(n) ** -power for n in numbers)


TIMBRES: dict[str, Timbre] = {
    # of the demo
    "bell": Timbre((1.0, 2.76, 5.40, 8.93), (0.6, 1.0, 0.9, 0.7)),
    "organ": Timbre((1.0, 2.0, 4.0, 8.0, 16.0), (0.8, 0.9, 1.0, 1.0, 0.6)),
    "saw": Timbre(*_series(14, 1.0)),
    "buzz": Timbre(*_series(18, 0.1)),
    "whistle": Timbre((2.0,), (1.0,), noise=0.25, band=(800.0, 3000.0)),
    "reed": Timbre(*_series(8, 0.8, step=2)),
    "hum": Timbre((0.5, 1.0, 1.5, 2.0), (1.0, 0.9, 0.5, 0.2)),
    "wood": Timbre((1.0, 3.9, 9.2), (1.0, 0.45, 0.25), noise=0.3, band=(300.0, 1500.0)),
    "hiss": Timbre((1.0,), (0.3,), noise=1.0, band=(2500.0, 6500.0)),
    "metal": Timbre((1.0, 1.41, 2.0), (1.0, 0.6, 0.5), modulation=(1.41, 2.5)),
    # of the pretext
    "vowel": Timbre(tuple(float(n) for n in range(1, 11)), (0.2, 0.4, 1.0, 0.4, 0.1, 0.1, 0.4, 0.6, 0.3, 0.1)),
    "chord": Timbre((1.0, 1.25, 1.5, 2.5, 3.0), (1.0, 0.9, 0.8, 0.4, 0.3)),
    "glass": Timbre((1.0, 6.27, 11.0), (0.4, 1.0, 0.6)),
    "rumble": Timbre((0.5,), (0.5,), noise=1.0, band=(80.0, 500.0)),
    "fifths": Timbre((1.0, 3.0, 9.0), (1.0, 0.9, 0.6)),
    "growl": Timbre((1.0, 2.0), (1.0, 0.3), modulation=(0.25, 4.0)),
    "breath": Timbre((1.0, 2.0), (0.25, 0.1), noise=1.0, band=(900.0, 2200.0)),
    "brass": Timbre(
        tuple(float(n) for n in range(1, 13)), (0.3, 0.5, 0.8, 1.0, 1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.1)
    ),
    "clank": Timbre((1.0, 2.32, 3.11, 4.25), (0.6, 1.0, 0.8, 0.8), modulation=(3.3, 1.2)),
    "tines": Timbre((1.0, 4.2, 4.3), (1.0, 0.5, 0.5)),
}


def _struck(u: np.ndarray, decay: float) -> np.ndarray:
    """Return an envelope that is loud at every whole cycle, then decays with time constant `decay` (cycles)."""
    since = np.mod(u, 1.0)
    amplitude: np.ndarray = np.minimum(since / ATTACK, 1) * np.exp(-since / decay)
    return amplitude


def _gate(u: np.ndarray, share: float) -> np.ndarray:
    """Return an envelope that is on for the first `share` of each cycle, with short ramps."""
    since = np.mod(u, 1.0)
    amplitude: np.ndarray = np.clip(since / 0.03, 0, 1) * np.clip((share - since) / 0.05, 0, 1)
    return amplitude


def _flat(u: np.ndarray) -> np.ndarray:
    return np.zeros_like(u)


ENVELOPES: dict[str, Envelope] = {
    # of the demo: each named by the motion it follows
    "bounce": lambda u, _: (_struck(u, 0.16), _flat(u)),
    "spin": lambda u, _: (0.7 + 0.3 * np.cos(2 * TURN * u), 0.5 * np.sin(TURN * u)),
    "pulse": lambda u, _: ((0.5 + 0.5 * np.sin(TURN * u)) ** 1.5, _flat(u)),
    "shake": lambda u, _: (0.5 + 0.5 * np.sin(2 * TURN * u), 1.5 * np.sin(TURN * u)),
    "sweep": lambda u, _: (0.9 + _flat(u), 7 * triangle(u)),
    "orbit": lambda u, _: (0.65 + 0.35 * np.cos(TURN * u), 2.5 * np.sin(TURN * u)),
    "zigzag": lambda u, _: (0.9 + _flat(u), np.where(np.mod(u, 1.0) < 0.5, -1.0, 5.0)),
    "swing": lambda u, _: (_struck(2 * u - 0.5, 0.3), np.where(np.mod(u - 0.25, 1.0) < 0.5, 3.0, -2.0)),
    "jump": lambda u, clock: (_gate(u, 0.5), 4 * entry(clock.table, u)[:, 0]),
    "stretch": lambda u, _: (np.abs(np.sin(TURN * u)), 3 * np.sin(TURN * u)),
    # of the pretext
    "double": lambda u, _: (np.maximum(_struck(u, 0.08), 0.8 * _struck(u - 0.25, 0.08)), _flat(u)),
    "ramp": lambda u, _: (np.mod(u, 1.0) ** 1.5, _flat(u)),
    "triplet": lambda u, _: (_gate(6 * u, 0.6) * (np.mod(u, 1.0) < 0.5), _flat(u)),
    "warble": lambda u, _: (0.8 + _flat(u), 2.0 * np.sign(np.sin(4 * TURN * u))),
    "dive": lambda u, _: (1 - 0.6 * np.mod(u, 1.0), 6 - 14 * np.mod(u, 1.0)),
    "notch": lambda u, _: (np.clip(np.abs(np.mod(u, 1.0) - 0.5) * 12 - 1, 0, 1), _flat(u)),
    "scale": lambda u, _: (_struck(4 * u, 0.5), 3.0 * np.floor(4 * np.mod(u, 1.0))),
    "burst": lambda u, _: (_gate(u, 0.25), 8 * np.mod(u, 1.0)),
}


def play(
    rng: np.random.Generator,
    timbre: str,
    envelope: str,
    clock: Clock,
    difficulty: Difficulty,
    samples: int,
    rate: int,
) -> np.ndarray:
    """Return a sound of root mean square 1, float32 [S]; pitch, partials' strength, tilt and phases are random."""
    tone = TIMBRES[timbre]
    step = max(1, rate // CONTROL_RATE)
    points = np.arange(0, samples + step, step)
    amplitude, semitones = ENVELOPES[envelope](clock.cycles(points / rate), clock)
    low, high = difficulty.pitch
    pitch = low * (high / low) ** rng.random()
    grid = np.arange(samples)
    frequency = np.interp(grid, points, pitch * 2 ** (semitones / 12))
    # Wrapped where every ratio, having two decimals, has made whole turns: float32 would lose long phases.
    phase = np.mod(np.cumsum(frequency) / rate, 100.0) * TURN
    wave = _partials(rng, tone, phase.astype(np.float32), frequency.max(), difficulty, rate)
    if tone.noise:
        wave += tone.noise * _band_noise(rng, tone.band, samples, rate)
    wave *= np.interp(grid, points, amplitude)
    return _unit(wave).astype(np.float32)


def mix(
    rng: np.random.Generator, source: np.ndarray, other: np.ndarray | None, difficulty: Difficulty, rate: int
) -> np.ndarray:
    """Mix source, off-screen sound and noise floor at random levels; float32 [S] within [-1, 1].

    `source` and `other` have root mean square 1; the noise's colour and all leads over it are drawn at random.
    """
    noise = draw_floor(rng, len(source), rate)
    total = source + noise * _gain(-rng.uniform(*difficulty.noise))
    lead = rng.uniform(*difficulty.other)
    if other is not None:
        total = total + other * _gain(-lead)
    total = total * _gain(rng.uniform(*difficulty.level))
    return (total / max(1.0, float(np.abs(total).max()) / 0.98)).astype(np.float32)


def gate(intervals: Sequence[tuple[float, float]], samples: int, rate: int) -> np.ndarray:
    """Return 1 within `intervals` (seconds) and 0 without, with short ramps; float32 [samples]."""
    times = np.arange(samples, dtype=np.float32) / np.float32(rate)
    found = np.zeros(samples, np.float32)
    for start, end in intervals:
        found = np.maximum(found, np.clip(np.minimum(times - start, end - times) / RAMP_S, 0, 1))
    return found.astype(np.float32)


def _partials(
    rng: np.random.Generator, tone: Timbre, phase: np.ndarray, highest: float, difficulty: Difficulty, rate: int
) -> np.ndarray:
    """Return the timbre's partials along `phase` (radians of the pitch), float32 [S]."""
    jitter = rng.normal(0, difficulty.partial_jitter, len(tone.ratios))
    tilt = rng.uniform(*difficulty.tilt) * np.log2(np.maximum(tone.ratios, 0.25))
    starts = rng.uniform(0, TURN, len(tone.ratios))
    levels = np.array(tone.levels) * _gain(jitter + tilt)
    ratio, index = tone.modulation
    bend = index * np.sin(ratio * phase) if index else np.float32(0)
    wave = np.zeros(len(phase), np.float32)
    for place, level, start in zip(tone.ratios, levels / np.sqrt((levels**2).sum()), starts, strict=True):
        if place * highest < HIGHEST * rate:
            wave += np.float32(level) * np.sin(np.float32(place) * phase + np.float32(start) + bend)
    return wave


def _band_noise(rng: np.random.Generator, band: Range, samples: int, rate: int) -> np.ndarray:
    """Return noise of root mean square 1 between two frequencies (hertz)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / rate)
    spectrum *= np.exp(
        -((np.log(np.maximum(frequency, 1) / np.sqrt(band[0] * band[1])) / np.log(band[1] / band[0])) ** 2) * 4
    )
    return _unit(np.fft.irfft(spectrum, samples))


def draw_floor(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Draw the noise floor: white to brown, root mean square 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / rate), 40.0)
    return _unit(np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), samples))


def excerpt(rng: np.random.Generator, recording: np.ndarray, samples: int) -> np.ndarray:
    """Return a recording from a drawn place on, repeated where it is shorter, of root mean square 1; float32 [samples].

    Of one that is nearly silent there, less.
    """
    whole = np.resize(np.roll(recording, -int(rng.integers(len(recording)))), samples)
    unit: np.ndarray = (whole / max(float(np.sqrt(np.mean(whole**2))), QUIET)).astype(np.float32)
    return unit


def _unit(wave: np.ndarray) -> np.ndarray:
    return wave / max(float(np.sqrt(np.mean(np.square(wave)))), 1e-6)


def _gain(decibels: np.ndarray | float) -> np.ndarray | float:
    return 10.0 ** (np.asarray(decibels) / 20)
