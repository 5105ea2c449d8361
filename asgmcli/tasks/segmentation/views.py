"""Weak and strong views of frames, their masks and their flow: one crop for all frames of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.data import augment

_JITTER, _HUE = 0.5, 0.25
_JITTER_SHARE, _GREY_SHARE, _BLUR_SHARE = 0.8, 0.2, 0.5
_BLUR = (0.1, 2.0)  # deviation, pixels


@dataclass(frozen=True)
class Crop:
    """A view of size S: the picture at `side` pixels, padded right and below where that is less than S, a crop of it.

    Attributes:
        side: of the whole picture in the view's scale, pixels.
        top, left: of the crop.
        flip: mirrored.
    """

    side: int
    top: int
    left: int
    flip: bool


def draw_crop(rng: np.random.Generator, size: int, resize: tuple[float, float], flip: float) -> Crop:
    """Draw a view of `size` pixels whose scale is uniform in `resize`."""
    side = max(1, round(size * float(rng.uniform(*resize))))
    spare = max(side - size, 0)
    top, left = (int(rng.integers(0, spare + 1)) for _ in range(2))
    return Crop(side, top, left, bool(rng.random() < flip))


def crop_image(images: Tensor, crop: Crop, size: int) -> Tensor:
    """Return the view of uint8 [T, 3, H, W]: uint8 [T, 3, S, S], black outside of the picture."""
    return _cut(augment.resize(images, (crop.side, crop.side), "bilinear"), crop, size, 0)


def crop_mask(masks: Tensor, crop: Crop, size: int, outside: bool = False) -> Tensor:
    """Return the view of bool [T, H, W], the nearest pixel of each: bool [T, S, S], `outside` beyond the picture."""
    resized = F.interpolate(masks[:, None].float(), (crop.side, crop.side), mode="nearest-exact")[:, 0] > 0
    return _cut(resized, crop, size, outside)


def crop_flow(flow: Tensor, crop: Crop, size: int, kind: Literal["physical", "reference"], padding: float) -> Tensor:
    """Return the view of flow float32 [T, 2, H, W] in 0..1: [T, 2, S, S], `padding` outside of the picture.

    `physical` lengthens a displacement with the picture and negates x where that is mirrored; `reference` does neither.
    """
    scale = crop.side / flow.shape[-1]
    resized = augment.resize(flow, (crop.side, crop.side), "bilinear")
    if kind == "physical":
        resized = (0.5 + (resized - 0.5) * scale).clamp(0.0, 1.0)
    view = _cut(resized, crop, size, padding)
    if kind == "physical" and crop.flip:
        view = torch.stack([1 - view[:, 0], view[:, 1]], dim=1)
    return view


def inside(crop: Crop, size: int) -> Tensor:
    """Return the pixels of the view that lie in the picture, bool [S, S]."""
    return _cut(torch.ones(1, crop.side, crop.side, dtype=torch.bool), crop, size, False)[0]


def _cut(x: Tensor, crop: Crop, size: int, fill: float | bool) -> Tensor:
    """Resize [..., side, side] to [..., S, S]."""
    short = max(size - crop.side, 0)
    if short:
        x = F.pad(x, (0, short, 0, short), value=fill)
    x = x[..., crop.top : crop.top + size, crop.left : crop.left + size]
    return x.flip(-1) if crop.flip else x


def strengthen(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a strong view of the same crop, uint8 [T, 3, S, S]: colour jitter (.8), grey (.2), blur (.5)."""
    from torchvision.transforms.v2 import functional

    if rng.random() < _JITTER_SHARE:
        brightness, contrast, saturation = (float(rng.uniform(1 - _JITTER, 1 + _JITTER)) for _ in range(3))
        hue = float(rng.uniform(-_HUE, _HUE))
        for number in rng.permutation(4):
            if number == 0:
                images = functional.adjust_brightness(images, brightness)
            elif number == 1:
                images = functional.adjust_contrast(images, contrast)
            elif number == 2:
                images = functional.adjust_saturation(images, saturation)
            else:
                images = functional.adjust_hue(images, hue)
    if rng.random() < _GREY_SHARE:
        images = functional.rgb_to_grayscale(images, num_output_channels=3)
    if rng.random() < _BLUR_SHARE:
        sigma = float(rng.uniform(*_BLUR))
        images = functional.gaussian_blur(images, [2 * int(np.ceil(3 * sigma)) + 1] * 2, [sigma, sigma])
    return images
