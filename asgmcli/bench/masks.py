"""How long a step's masks take to draw: a whole batch at once, on one thread."""

from __future__ import annotations

import torch

from asgmcli.masks.heatmap import heatmap_mask
from asgmcli.masks.tube import tube_mask
from asgmcli.report.timing import Timing, repeat

TITLE = "Masks of 64 clips x 8 frames x 196 tokens, one thread"
CLIPS, FRAMES, GRID = 64, 8, (14, 14)
KEEP = 1 / 3  # the mean of Beta(5, 10)


def measure(repeats: int) -> list[Timing]:
    """The tube, and the guided mask from FNAC's map of 7 x 7 and from one as fine as the tokens."""
    draw = torch.Generator().manual_seed(0)
    maps = {side: torch.rand(CLIPS, FRAMES, side, side, generator=draw) for side in (7, GRID[0])}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tokens = GRID[0] * GRID[1]
        timings = [repeat("tube", lambda: tube_mask(CLIPS, FRAMES, tokens, KEEP, draw), repeats, warm_up=5)]
        for side, heatmap in maps.items():

            def guided(heatmap: torch.Tensor = heatmap) -> torch.Tensor:
                return heatmap_mask(heatmap, grid=GRID, keep=KEEP, generator=draw)

            timings.append(repeat(f"guided, map of {side} x {side}", guided, repeats, warm_up=5))
        return timings
    finally:
        torch.set_num_threads(threads)
