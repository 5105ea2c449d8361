"""Cut-outs: photographs of things with transparency, drawn at any size and turn."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from asgmcli.synthetic.material import read_cutout
from asgmcli.synthetic.motions import Pose
from asgmcli.synthetic.sprites import Layer, window

CORNER = 2**0.5  # of a square, in radii


def cut_picture(path: Path, pose: Pose, radius: float, size: int) -> Layer:
    """Draw a cut-out into layers for frames of `size` pixels; its longer side is two radii at rest.

    `pose` and `radius` in frame sides, all frames at once.

    Raises:
        MediaError: the picture cannot be read.
    """
    picture = _trimmed(path)
    at = window(pose, radius, size, CORNER)
    width = at.u.shape[-1]
    half = max(picture.size) / 2  # a radius in pixels of the picture
    reduced = picture.reduce(max(1, int(half / (radius * size) / 2)))
    scale = np.array([reduced.width / picture.width, reduced.height / picture.height])
    layers = np.empty((len(at.left), width, width, 4), np.float32)
    for frame in range(len(layers)):
        # Window pixels to radii is linear: its value in a corner pixel and the steps from there give the whole map.
        rows = []
        for line, side, factor in zip((at.u, at.v), picture.size, scale, strict=True):
            first, right, down = (float(line[frame][place]) for place in ((0, 0), (0, 1), (1, 0)))
            across, along = right - first, down - first
            start = first - (across + along) / 2
            rows += [half * across * factor, half * along * factor, (half * start + side / 2) * factor]
        moved = reduced.transform((width, width), Image.Transform.AFFINE, tuple(rows), Image.Resampling.BILINEAR)
        layers[frame] = np.asarray(moved)
    layers /= 255
    return Layer(alpha=layers[..., 3], left=at.left, top=at.top, fill=layers[..., :3])


@lru_cache(maxsize=512)
def _trimmed(path: Path) -> Image.Image:
    """Return the picture without its empty margins."""
    picture = Image.fromarray(read_cutout(path, "RGBA"))
    return picture.crop(picture.getchannel("A").getbbox())
