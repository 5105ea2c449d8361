"""Sprites: flat shapes given by their signed distance, painted with soft edges, an outline and two tones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from asgmcli.synthetic.motions import Pose

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
OUTLINE = 0.0125  # of the frame's side: 1.2 pixels at 96
TONE_EDGE = 0.12  # width of the step between the two tones, in radii


def polygon(x: np.ndarray, y: np.ndarray, corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return the signed distance of points to a polygon, negative inside."""
    nearest = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ex, ey = bx - ax, by - ay
        wx, wy = x - np.float32(ax), y - np.float32(ay)
        along = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (wx - ex * along) ** 2 + (wy - ey * along) ** 2)
        if ay != by:
            inside ^= ((y >= ay) != (y >= by)) & (x < ax + ex * (y - ay) / ey)
    return np.sqrt(nearest) * np.where(inside, -1, 1).astype(np.float32)


def _disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    outside: np.ndarray = np.hypot(x, y) - 0.9
    return outside


def _pill(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    outside: np.ndarray = np.hypot(np.maximum(np.abs(x) - 0.6, 0), y) - 0.4
    return outside


def _half_disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    outside: np.ndarray = np.maximum(np.hypot(x, y - 0.4) - 1.0, y - 0.4)
    return outside


def _regular(sides: int) -> tuple[tuple[float, float], ...]:
    turns = np.arange(sides) * 2 * np.pi / sides
    return tuple((float(np.sin(a)), float(-np.cos(a))) for a in turns)


_SQUARE = ((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8))
_RHOMBUS = ((0.0, -1.0), (0.62, 0.0), (0.0, 1.0), (-0.62, 0.0))
_L = ((-0.8, -0.95), (-0.2, -0.95), (-0.2, 0.35), (0.8, 0.35), (0.8, 0.95), (-0.8, 0.95))
_T = ((-0.9, -0.9), (0.9, -0.9), (0.9, -0.35), (0.3, -0.35), (0.3, 0.95), (-0.3, 0.95), (-0.3, -0.35), (-0.9, -0.35))
_CHEVRON = ((-0.95, 0.2), (0.0, -0.75), (0.95, 0.2), (0.95, 0.85), (0.0, -0.1), (-0.95, 0.85))
_HOURGLASS = ((-0.8, -0.9), (0.8, -0.9), (0.15, 0.0), (0.8, 0.9), (-0.8, 0.9), (-0.15, 0.0))

SHAPES: dict[str, Distance] = {
    "disc": _disc,
    "square": partial(polygon, corners=_SQUARE),
    "hexagon": partial(polygon, corners=_regular(6)),
    "rhombus": partial(polygon, corners=_RHOMBUS),
    "pill": _pill,
    "half-disc": _half_disc,
    "letter-l": partial(polygon, corners=_L),
    "letter-t": partial(polygon, corners=_T),
    "chevron": partial(polygon, corners=_CHEVRON),
    "hourglass": partial(polygon, corners=_HOURGLASS),
}
"""Signed distance in units of the sprite's radius, negative inside, by name; each fills about [-1, 1] x [-1, 1]."""


@dataclass(frozen=True)
class Cut:
    """What a thing covers, in small windows, one a frame.

    `alpha` float [T, w, w] is how much of a pixel it covers; `left` and `top` int [T] place the windows (they may leave
    the frame).
    """

    alpha: np.ndarray
    left: np.ndarray
    top: np.ndarray

    def spans(self, frame: int, size: int) -> tuple[slice, slice, slice, slice]:
        """Return the rows and columns of the frame that the window covers, then those of the window itself."""
        width = self.alpha.shape[1]
        left, top = int(self.left[frame]), int(self.top[frame])
        x1, x2 = max(left, 0), min(left + width, size)
        y1, y2 = max(top, 0), min(top + width, size)
        return slice(y1, y2), slice(x1, x2), slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)

    def boxes(self, size: int) -> np.ndarray:
        """Return int [T, 4]: x1, y1, x2, y2 in pixels, right and bottom exclusive, of the part inside the frame."""
        found = np.zeros((len(self.left), 4), np.int64)
        for frame in range(len(found)):
            rows, columns, inner_rows, inner_columns = self.spans(frame, size)
            covered = self.alpha[frame, inner_rows, inner_columns] > 0
            xs, ys = np.flatnonzero(covered.any(0)), np.flatnonzero(covered.any(1))
            found[frame] = (
                columns.start + xs[0], rows.start + ys[0], columns.start + xs[-1] + 1, rows.start + ys[-1] + 1
            )  # fmt: skip
        return found


@dataclass(frozen=True)
class Patch(Cut):
    """A sprite's pixels before it is coloured.

    `body` float [T, w, w] is `alpha` less the outline, `tone` float [T, w, w] goes from 0 to 1 across it.
    """

    body: np.ndarray
    tone: np.ndarray


@dataclass(frozen=True)
class Layer(Cut):
    """A thing's pixels with their colours, `fill` float32 [T, w, w, 3] in 0 to 1."""

    fill: np.ndarray


@dataclass(frozen=True)
class Window:
    """Pixels around a moving thing in its own coordinates.

    `u`, `v` float [T, w, w] in radii, the thing upright and at rest; `pixels` float [T, 1, 1] is a radius in pixels,
    the shorter of both ways; `left` and `top` int [T] place the windows.
    """

    u: np.ndarray
    v: np.ndarray
    pixels: np.ndarray
    left: np.ndarray
    top: np.ndarray


def window(pose: Pose, radius: float, size: int, reach: float = 1.25) -> Window:
    """Return windows that hold a thing of `radius` (frame sides) in frames of `size` pixels, all frames at once.

    `reach`, in radii, is how far a thing's furthest point is from its middle.
    """
    scale = np.maximum(pose.scale_x, pose.scale_y).max()
    width = int(np.ceil(2 * reach * radius * scale * size)) + 3
    left = np.floor(pose.x * size - width / 2).astype(np.int64)
    top = np.floor(pose.y * size - width / 2).astype(np.int64)
    steps = np.arange(width) + 0.5
    px = (left[:, None] + steps - pose.x[:, None] * size).astype(np.float32)[:, None, :]
    py = (top[:, None] + steps - pose.y[:, None] * size).astype(np.float32)[:, :, None]
    cosine = np.cos(pose.angle).astype(np.float32)[:, None, None]
    sine = np.sin(pose.angle).astype(np.float32)[:, None, None]
    across = (radius * size * pose.scale_x).astype(np.float32)[:, None, None]
    down = (radius * size * pose.scale_y).astype(np.float32)[:, None, None]
    u = (px * cosine + py * sine) / across
    v = (py * cosine - px * sine) / down
    return Window(u, v, np.minimum(across, down), left, top)


def cut(shape: str, pose: Pose, radius: float, size: int) -> Patch:
    """Draw `shape` into patches for frames of `size` pixels; `pose` and `radius` in frame sides, all frames at once."""
    at = window(pose, radius, size)
    distance = SHAPES[shape](at.u, at.v) * at.pixels
    return Patch(
        alpha=np.clip(0.5 - distance, 0, 1),
        body=np.clip(0.5 - distance - OUTLINE * size, 0, 1),
        tone=np.clip((at.u + at.v) / TONE_EDGE + 0.5, 0, 1),
        left=at.left,
        top=at.top,
    )


def coloured(patch: Patch, colours: np.ndarray) -> Layer:
    """Return a patch in `colours` float [3, 3]: outline, first, second tone."""
    outline, first, second = colours.astype(np.float32)
    tone, body = patch.tone[..., None], patch.body[..., None]
    fill = outline + body * (first + tone * (second - first) - outline)
    return Layer(patch.alpha, patch.left, patch.top, fill)


def paint(canvas: np.ndarray, patch: Patch, colours: np.ndarray) -> None:
    """Paint a patch onto float `canvas` [T, S, S, 3], in place; `colours` float [3, 3]: outline, first, second tone."""
    paint_layer(canvas, coloured(patch, colours))


def paint_layer(canvas: np.ndarray, layer: Layer) -> None:
    """Paint a layer onto float `canvas` [T, S, S, 3], in place."""
    size = canvas.shape[1]
    alpha = layer.alpha[..., None]
    for frame in range(len(canvas)):
        rows, columns, *inner = layer.spans(frame, size)
        region = canvas[frame, rows, columns]
        region += alpha[frame][tuple(inner)] * (layer.fill[frame][tuple(inner)] - region)
