"""Barlow Twins' augmentations of frames, in its order, each one switched on or off by the recipe (Table 5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.windows import centre
from asgmcli.recipe.event_representation import FrameAugment

FLIPPED, JITTERED, GRAYED, BLURRED, SOLARIZED = 0.5, 0.8, 0.2, 0.5, 0.2
"""Shares of the frames that each augmentation changes."""
JITTER = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue
SIGMA = (0.1, 2.0)
KERNEL_SHARE = 23 / 224  # of the picture's side that the blur's kernel has
THRESHOLD = 128


def augmentation(settings: FrameAugment, size: int) -> torch.nn.Module:
    """Return what a frame uint8 [3, H, W] goes through, to [3, size, size].

    Args:
        settings: of the recipe.
        size: side of the picture that the network sees.
    """
    from torchvision.transforms import InterpolationMode, v2  # two seconds of every command, were it above

    kernel = max(3, 2 * round(KERNEL_SHARE * size / 2) + 1)
    steps: list[torch.nn.Module] = []
    if settings.crop:
        steps.append(
            v2.RandomResizedCrop(size, (settings.scale, 1.0), interpolation=InterpolationMode.BICUBIC, antialias=True)
        )
    else:
        steps.append(v2.Resize((size, size), interpolation=InterpolationMode.BICUBIC, antialias=True))
    if settings.flip:
        steps.append(v2.RandomHorizontalFlip(FLIPPED))
    if settings.jitter:
        steps.append(v2.RandomApply([v2.ColorJitter(*JITTER)], JITTERED))
    if settings.gray:
        steps.append(v2.RandomGrayscale(GRAYED))
    if settings.blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(kernel, SIGMA)], BLURRED))
    if settings.solarize:
        steps.append(v2.RandomSolarize(THRESHOLD, SOLARIZED))
    return torch.nn.Sequential(*steps)


def augment(frames: Tensor, settings: FrameAugment, size: int, rng: np.random.Generator) -> Tensor:
    """Augment the frames of a window.

    Args:
        frames: uint8 [T, 3, H, W].
        settings: of the recipe; `draw: clip` changes all frames alike.
        size: side of the result.
        rng: of the sample's draws.

    Returns:
        uint8 [T, 3, size, size].
    """
    change = augmentation(settings, size)
    # torchvision draws from torch's global state, which belongs to the training step.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        if settings.draw == "clip":
            return _sized(change(frames), size)
        return torch.stack([_sized(change(frame), size) for frame in frames])


def _sized(frames: Tensor, size: int) -> Tensor:
    return centre(frames, size)
