"""CutMix boxes (S. Yun et al., ICCV 2019) as UFE draws them: an area, then the shapes that fit it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

SMALLEST, LARGEST = 0.02, 0.4
"""Share of the view that a box covers."""
_NARROWEST = 0.3  # width over height's bound; its inverse bounds the other side


def cutmix_boxes(count: int, size: int, rng: np.random.Generator, probability: float = 0.5) -> Tensor:
    """Return boxes, bool [N, size, size]; without one a frame is False everywhere.

    The area is drawn once, uniform in .02..0.4 of the view; aspect (uniform in .3..1/.3) and corner are redrawn until
    the box fits, so that the mean area stays that of the draw.

    Args:
        count: N.
        size: of the square view, pixels.
        rng: source of all draws.
        probability: of a box.
    """
    boxes = np.zeros((count, size, size), dtype=bool)
    for box in boxes:
        if rng.random() >= probability:
            continue
        area = rng.uniform(SMALLEST, LARGEST) * size * size
        while True:
            aspect = rng.uniform(_NARROWEST, 1 / _NARROWEST)
            width, height = int(math.sqrt(area / aspect)), int(math.sqrt(area * aspect))
            left, top = int(rng.integers(0, size)), int(rng.integers(0, size))
            if left + width <= size and top + height <= size:
                break
        box[top : top + height, left : left + width] = True
    return torch.from_numpy(boxes)
