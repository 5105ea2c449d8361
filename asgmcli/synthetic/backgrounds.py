"""Textured backgrounds that move: a larger picture panned under the frame."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from asgmcli.synthetic.difficulty import Range


@dataclass(frozen=True)
class Background:
    """A texture by name with its colours [3, 3], velocity in frame sides a second, and the seed of its pattern."""

    texture: str
    colours: np.ndarray
    velocity: tuple[float, float]
    seed: int


def _value_noise(rng: np.random.Generator, width: int, cells: float) -> np.ndarray:
    """Return smooth noise [w, w] in 0 to 1 with about `cells` bumps across."""
    count = int(np.ceil(cells)) + 2
    grid = rng.random((count, count), np.float32)
    place = np.linspace(0, cells, width, dtype=np.float32)
    base = np.minimum(place.astype(np.int64), count - 2)
    share = place - base
    share = share * share * (3 - 2 * share)
    weights = np.zeros((width, count), np.float32)
    rows = np.arange(width)
    weights[rows, base] = 1 - share
    weights[rows, base + 1] = share
    smooth: np.ndarray = weights @ grid @ weights.T
    return smooth


def _axes(rng: np.random.Generator, width: int, cells: Range) -> tuple[np.ndarray, np.ndarray]:
    """Return turned coordinates [w, w] that count `cells` (drawn) across the picture."""
    angle, count = rng.uniform(0, np.pi), rng.uniform(*cells)
    line = np.linspace(0, count, width, dtype=np.float32)
    x, y = line[None, :], line[:, None]
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _clouds(rng: np.random.Generator, width: int) -> np.ndarray:
    cells = rng.uniform(4, 7)
    return 0.6 * _value_noise(rng, width, cells) + 0.4 * _value_noise(rng, width, 2.3 * cells)


def _stripes(rng: np.random.Generator, width: int) -> np.ndarray:
    x, _ = _axes(rng, width, (5, 11))
    return 0.5 + 0.5 * np.sin(2 * np.pi * (x + 0.6 * _value_noise(rng, width, 4)))


def _checks(rng: np.random.Generator, width: int) -> np.ndarray:
    x, y = _axes(rng, width, (3, 6))
    return np.clip(0.5 + 2.5 * np.sin(2 * np.pi * x) * np.sin(2 * np.pi * y), 0, 1)


def _dots(rng: np.random.Generator, width: int) -> np.ndarray:
    x, y = _axes(rng, width, (6, 11))
    from_middle = np.hypot(np.mod(x, 1) - 0.5, np.mod(y, 1) - 0.5)
    dots: np.ndarray = np.clip((rng.uniform(0.25, 0.38) - from_middle) * 8 + 0.5, 0, 1)
    return dots


def _waves(rng: np.random.Generator, width: int) -> np.ndarray:
    fields = (np.sin(2 * np.pi * _axes(rng, width, (3, 8))[0]) for _ in range(3))
    return np.clip(0.5 + 0.25 * sum(fields), 0, 1)


def _blotches(rng: np.random.Generator, width: int) -> np.ndarray:
    return np.clip((_value_noise(rng, width, rng.uniform(6, 11)) - 0.5) * 8 + 0.5, 0, 1)


TEXTURES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "clouds": _clouds,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "waves": _waves,
    "blotches": _blotches,
}
"""Patterns float [w, w] in 0 to 1, by name."""


def draw_background(rng: np.random.Generator, pan: Range) -> Background:
    """Draw a random background that pans at a speed in `pan`, frame sides a second."""
    texture = str(rng.choice(list(TEXTURES)))
    hue, value = rng.random(), rng.uniform(0.3, 0.75)
    saturation = rng.uniform(0.1, 0.7)
    other = float(np.clip(value + rng.choice((-1, 1)) * rng.uniform(0.12, 0.3), 0.1, 0.95))
    turn, other_saturation = rng.uniform(-0.25, 0.25), rng.uniform(0.1, 0.7)
    first = colorsys.hsv_to_rgb(hue, saturation, value)
    second = colorsys.hsv_to_rgb((hue + turn) % 1, other_saturation, other)
    third = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.5), (value + other) / 2)
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(*pan)
    velocity = (float(speed * np.cos(angle)), float(speed * np.sin(angle)))
    return Background(texture, np.array([first, second, third]), velocity, int(rng.integers(2**62)))


def render_background(background: Background, times: np.ndarray, size: int) -> np.ndarray:
    """Render the background at `times` (seconds) as float32 [T, S, S, 3] in 0 to 1."""
    shifts = _shifts(background.velocity, times, size)
    # The pattern spans 1.5 frame sides and more where the pan needs it, so that its grain does not depend on the pan.
    width = max(int(1.5 * size), _width(shifts, size))
    rng = np.random.default_rng(background.seed)
    pattern = TEXTURES[background.texture](rng, width)[..., None]
    tint = _value_noise(rng, width, 3.0)[..., None]
    first, second, third = background.colours.astype(np.float32)
    picture = first + pattern * (second - first)
    return _panned(picture + 0.5 * tint * (third - picture), shifts, size)


def pan_photograph(photograph: np.ndarray, velocity: tuple[float, float], times: np.ndarray, size: int) -> np.ndarray:
    """Pan the middle of a photograph, uint8 [H, W, 3], under the frame; see `render_background`."""
    shifts = _shifts(velocity, times, size)
    width = _width(shifts, size)
    fitted = ImageOps.fit(Image.fromarray(photograph), (width, width), Image.Resampling.BILINEAR)
    return _panned(np.asarray(fitted, np.float32) / np.float32(255), shifts, size)


def _shifts(velocity: tuple[float, float], times: np.ndarray, size: int) -> np.ndarray:
    """Return where the frame lies on the picture at `times`, pixels [2, T], 0 and more."""
    shifts = np.stack([v * times * size for v in velocity])
    placed: np.ndarray = shifts - shifts.min(axis=1, keepdims=True)
    return placed


def _width(shifts: np.ndarray, size: int) -> int:
    """Return the side of a picture that the frame stays on."""
    return size + int(np.ceil(shifts.max())) + 2


def _panned(picture: np.ndarray, shifts: np.ndarray, size: int) -> np.ndarray:
    """Return the parts of `picture` [w, w, 3] at `shifts` [2, T], float32 [T, S, S, 3]."""
    frames = np.empty((shifts.shape[1], size, size, 3), np.float32)
    for frame, (dx, dy) in enumerate(shifts.T):
        x, y = int(dx), int(dy)
        fx, fy = np.float32(dx - x), np.float32(dy - y)
        strip = (
            picture[y : y + size + 1, x : x + size] * (1 - fx) + picture[y : y + size + 1, x + 1 : x + size + 1] * fx
        )
        frames[frame] = strip[:-1] * (1 - fy) + strip[1:] * fy
    return frames
