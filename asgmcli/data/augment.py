"""Weak and strong views of one clip, each draw from a generator of its own (docs/METHOD.md).

Views leave here as uint8: a quarter of the memory of floats on the way to the device, which normalises them. Channel
dropout and temporal warp travel as indices, because dropping a channel is a product and warping time is a selection,
both done where the tokens are. torchvision takes more than a second to import: only what changes pictures does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WARP_LENGTHS = (2, 4)
CHANNELS = 3


@dataclass(frozen=True)
class Geometry:
    """A crop of a frame in pixels, resized to a square, mirrored or not; the same for all frames of a clip."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_geometry(
    rng: np.random.Generator, height: int, width: int, size: int, short_side: tuple[int, int], flip: float
) -> Geometry:
    """Draw a random crop of `size` pixels from the frame resized to a random short side, in the original's pixels.

    Resizing the crop alone is the same picture (up to the filter's support at its edge) for less work.
    """
    scale = min(height, width) / rng.integers(short_side[0], short_side[1] + 1)
    side = min(max(round(size * scale), 1), height, width)
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    return Geometry(top, left, side, side, bool(rng.random() < flip))


def apply_geometry(frames: Tensor, geometry: Geometry, size: int) -> Tensor:
    """Crop, resize and flip uint8 [T, H, W, 3] by `geometry`; return uint8 [T, 3, size, size]."""
    crop = frames[
        :, geometry.top : geometry.top + geometry.height, geometry.left : geometry.left + geometry.width
    ].permute(0, 3, 1, 2)
    view = resize(crop, (size, size), "bilinear")
    return view.flip(-1) if geometry.flip else view


def resize(images: Tensor, size: tuple[int, int], kind: Literal["bilinear", "bicubic"]) -> Tensor:
    """Return uint8 [..., H, W] at another (height, width), antialiased."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    resized: Tensor = functional.resize(images, list(size), interpolation=InterpolationMode(kind), antialias=True)
    return resized


def apply_geometry_to_maps(maps: Tensor, geometry: Geometry, frame: tuple[int, int]) -> Tensor:
    """Crop and flip maps [T, h, w] of whole frames of (height, width) pixels by `geometry`.

    The number of cells stays: a crop shows fewer of them finer, bilinear between their centres.
    """
    (rows, columns), (height, width) = maps.shape[1:], frame
    y = 2 * (geometry.top + (torch.arange(rows) + 0.5) / rows * geometry.height) / height - 1
    x = 2 * (geometry.left + (torch.arange(columns) + 0.5) / columns * geometry.width) / width - 1
    places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
    seen = F.grid_sample(maps[None], places, mode="bilinear", padding_mode="border", align_corners=False)[0]
    return seen.flip(-1) if geometry.flip else seen


def rand_augment(
    view: Tensor, rng: np.random.Generator, operations: int, magnitude: int, *, geometric: bool = True
) -> Tensor:
    """Apply RandAugment (Cubuk et al., 2020) with one draw for the whole clip; uint8 [T, 3, H, W], shape kept.

    Without `geometric` operations everything stays in its place.
    """
    if not operations:
        return view
    from asgmcli.data.rand_augment import AllOperations, ColourOperations

    draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
    kind = AllOperations if geometric else ColourOperations
    return kind(num_ops=operations, magnitude=magnitude).change(view, draws)


def draw_dropped_channels(
    rng: np.random.Generator, probability: float, channels: Literal["one", "each"] = "one"
) -> list[bool]:
    """Draw which of the colour channels the strong view loses: one of them with `probability`, or each with it."""
    if channels == "each":
        return [bool(lost) for lost in rng.random(CHANNELS) < probability]
    lost = int(rng.integers(CHANNELS)) if rng.random() < probability else None
    return [channel == lost for channel in range(CHANNELS)]


def draw_warp(rng: np.random.Generator, frames: int, filler: Literal["nearest", "random"] = "nearest") -> list[int]:
    """Draw TWAug: for each of the T positions the frame shown there.

    With probability 1/3 each 2 frames, 4 frames or all are kept. A dropped position shows its nearest kept frame, the
    earlier one on a tie; or, with a `random` filler, the kept frame before it up to a place drawn uniformly between its
    two neighbours (both included), from there the one after it (SVFormer's released code).
    """
    kept_count = (*WARP_LENGTHS, frames)[int(rng.integers(len(WARP_LENGTHS) + 1))]
    if kept_count >= frames:
        return list(range(frames))
    kept = np.sort(rng.choice(frames, size=kept_count, replace=False))
    if filler == "nearest":
        return [int(kept[np.abs(kept - position).argmin()]) for position in range(frames)]
    cuts = [second if second == first + 1 else int(rng.integers(first, second + 1)) for first, second in pairwise(kept)]
    return [int(kept[sum(cut <= position for cut in cuts)]) for position in range(frames)]


def spec_augment(logmel: Tensor, rng: np.random.Generator, frequency: int, time: int, fill: float) -> Tensor:
    """Apply SpecAugment (Park et al., 2019): one band up to `frequency` bins and one span up to `time` steps set to
    `fill`.

    Args:
        logmel: [L, M].
        rng: source of widths and places.
        frequency: widest band in mel bins.
        time: longest span in steps of 10 ms.
        fill: the value of masked cells, the data set's mean.

    Returns:
        A new tensor [L, M].
    """
    return draw_sound_masks(logmel, rng, frequency, time).applied(logmel, fill)


@dataclass(frozen=True)
class SoundMasks:
    """SpecAugment's band of mel bins and span of time steps, each from and up to."""

    bins: tuple[int, int]
    steps: tuple[int, int]

    def applied(self, logmel: Tensor, fill: float) -> Tensor:
        """Return a new tensor [L, M] with both set to `fill`."""
        masked = logmel.clone()
        masked[:, slice(*self.bins)] = fill
        masked[slice(*self.steps)] = fill
        return masked


def draw_sound_masks(logmel: Tensor, rng: np.random.Generator, frequency: int, time: int) -> SoundMasks:
    """Draw the masks of `spec_augment` for a log-mel [L, M]."""
    spans = []
    for widest, cells in ((frequency, logmel.shape[1]), (time, logmel.shape[0])):
        width = int(rng.integers(0, min(widest, cells) + 1))
        start = int(rng.integers(0, cells - width + 1))
        spans.append((start, start + width))
    return SoundMasks(*spans)


def crops(frames: Tensor, size: int, count: int) -> Tensor:
    """Return evaluation views uint8 [count, T, 3, size, size] of uint8 [T, H, W, 3].

    The short side is resized to `size`; one crop is the centre, three are left, centre, right (or top, middle, bottom).
    """
    height, width = frames.shape[1:3]
    scale = size / min(height, width)
    sides = (max(round(height * scale), size), max(round(width * scale), size))
    resized = resize(frames.permute(0, 3, 1, 2), sides, "bilinear")
    spare_rows, spare_columns = resized.shape[-2] - size, resized.shape[-1] - size
    places = (0.5,) if count == 1 else (0.0, 0.5, 1.0)
    return torch.stack(
        [
            resized[..., (top := round(spare_rows * p)) : top + size, (left := round(spare_columns * p)) : left + size]
            for p in places
        ]
    )
