"""Maps that point to a wrong place: the control that keeps a map's shape and takes away its meaning."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def misplaced(heatmap: Tensor, kind: Literal["roll", "shuffle"], generator: torch.Generator) -> Tensor:
    """Move the cells of each clip's maps elsewhere, in the same way in all its frames.

    Args:
        heatmap: [B, T, h, w].
        kind: `roll` shifts the whole map around the edges, by at least a third of its rows or columns, so that a spot
            stays a spot; `shuffle` draws a new place for every cell.
        generator: source of the draws, on any device.

    Returns:
        A new tensor [B, T, h, w]: the same values in every frame.

    Raises:
        ValueError: unknown kind, or a map of a single cell.
    """
    batch, _, height, width = heatmap.shape
    if height * width < 2:
        raise ValueError("a map of a single cell cannot point to another place")
    if kind not in ("roll", "shuffle"):
        raise ValueError(f"kind must be 'roll' or 'shuffle', got {kind!r}")
    if kind == "shuffle":
        keys = torch.rand(batch, height * width, generator=generator, device=generator.device)
        order = keys.argsort(dim=1).to(heatmap.device)
        cells = heatmap.flatten(2)
        return cells.gather(2, order[:, None].expand_as(cells)).view_as(heatmap)
    shifts = torch.tensor(far_shifts(height, width))
    chosen = torch.randint(len(shifts), (batch,), generator=generator, device=generator.device).tolist()
    rolled = [
        clip.roll(tuple(shifts[index].tolist()), dims=(1, 2)) for clip, index in zip(heatmap, chosen, strict=True)
    ]
    return torch.stack(rolled)


def far_shifts(height: int, width: int) -> list[tuple[int, int]]:
    """Return every shift (rows, columns) around the edges that moves at least a third of the rows or of the columns."""
    return [
        (rows, columns)
        for rows in range(height)
        for columns in range(width)
        if (rows or columns) and (3 * min(rows, height - rows) >= height or 3 * min(columns, width - columns) >= width)
    ]
