"""The block mask: one rectangle of tokens in a random place, the control that has a spot's shape and no meaning."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asgmcli.masks.tube import kept_tokens


def block_mask(batch: int, frames: int, grid: tuple[int, int], keep: float, generator: torch.Generator) -> Tensor:
    """Draw a rectangle of tokens a clip, as square as fits, the same in all its frames; its last row may end early.

    Args:
        batch: B.
        frames: T.
        grid: (rows, columns) of the tokens, N = rows x columns.
        keep: fraction λ (float) or count n (int), see `asgmcli.masks.tube.kept_tokens`.
        generator: source of the places, each that lies in the grid as likely; the mask lies on its device.

    Returns:
        bool [B, T, N], true where A's token stays; exactly n true a frame.

    Raises:
        ValueError: see `kept_tokens`.
    """
    rows, columns = grid
    count = kept_tokens(rows * columns, keep)
    width = min(columns, max(math.ceil(math.sqrt(count)), math.ceil(count / rows)))
    height = math.ceil(count / width)
    device = generator.device
    top = torch.randint(rows - height + 1, (batch, 1), generator=generator, device=device)
    left = torch.randint(columns - width + 1, (batch, 1), generator=generator, device=device)
    cells = torch.arange(count, device=device)
    kept = (top + cells // width) * columns + left + cells % width
    block = torch.zeros(batch, rows * columns, dtype=torch.bool, device=device).scatter_(1, kept, True)
    return block[:, None].repeat(1, frames, 1)
