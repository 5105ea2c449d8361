"""Which patches show which sprite: what the patches are asked, and which of them are worth looking at."""

from __future__ import annotations

import torch
from torch import Tensor

REACH = 0.9  # of a sprite's radius: patches whose centre lies within show it
JITTER = 0.3  # radii: the order of patches about equally near is left to chance


def distances(places: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the distance of each patch's centre from each sprite's, in the sprite's radii; infinity without a sprite.

    Args:
        places: [..., A, T, 3] x, y and radius in frame sides, NaN where there is none.
        grid: (rows, columns) of patches, N of them.

    Returns:
        [..., A, T, N].
    """
    rows = (torch.arange(grid[0], device=places.device) + 0.5) / grid[0]
    columns = (torch.arange(grid[1], device=places.device) + 0.5) / grid[1]
    centres = torch.stack([columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns))], dim=-1).flatten(0, 1)
    away = torch.linalg.vector_norm(places[..., None, :2] - centres, dim=-1) / places[..., 2:]
    return torch.nan_to_num(away, nan=torch.inf)


def nearest_patches(places: Tensor, grid: tuple[int, int], count: int, chance: Tensor) -> Tensor:
    """Return the patches that come nearest to any sprite in any frame: int64 [count], in the grid's order.

    Args:
        places: [A, T, 3] of one clip, as in `distances`.
        grid: (rows, columns) of patches.
        count: how many.
        chance: [rows x columns] even draws in 0 to 1, which decide between patches about equally near.
    """
    away = distances(places, grid).amin(dim=(0, 1)) + JITTER * chance
    return away.argsort()[:count].sort().values


def patch_targets(cast: Tensor, places: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the shape and the motion that each patch shows, 0 for none.

    A patch shows the nearest sprite (in radii) whose centre is within `REACH` of its radius; a sprite too small for
    that is shown by the patch nearest to it.

    Args:
        cast: [B, A, 2] shape and motion of each sprite, -1 where there is none.
        places: [B, A, T, 3] x, y and radius in frame sides, NaN where there is none.
        grid: (rows, columns) of patches.

    Returns:
        Two int64 [B, T, N]: 1 + shape, 1 + motion, or 0.
    """
    away = distances(places, grid)
    shown = (away < REACH) | ((away == away.amin(dim=-1, keepdim=True)) & away.isfinite())
    nearest, sprite = away.masked_fill(~shown, torch.inf).min(dim=1)
    found = nearest.isfinite()
    shape, motion = (
        torch.where(found, cast[:, :, kind].gather(1, sprite.flatten(1)).view_as(sprite) + 1, 0) for kind in (0, 1)
    )
    return shape, motion
