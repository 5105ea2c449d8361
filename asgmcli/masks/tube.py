"""The tube mask of SVFormer: the same random tokens kept in every frame."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor


def kept_tokens(tokens: int, keep: float) -> int:
    """Return how many tokens a frame stay A's: 1 to N - 1, so that both clips are seen.

    Args:
        tokens: N, at least 2.
        keep: a float is the fraction λ in 0..1, giving round(λN); an int is the count itself, in 1..N - 1.

    Raises:
        ValueError: a fraction or count outside these ranges, or fewer than 2 tokens.
    """
    if tokens < 2:
        raise ValueError(f"mixing needs at least 2 tokens a frame, got {tokens}")
    if isinstance(keep, Integral):
        if not 1 <= keep <= tokens - 1:
            raise ValueError(f"the number of kept tokens must lie in 1..{tokens - 1}, got {keep}")
        return int(keep)
    if not 0 <= keep <= 1:
        raise ValueError(f"the kept fraction must lie in 0..1, got {keep}")
    return min(max(round(keep * tokens), 1), tokens - 1)


def tube_mask(batch: int, frames: int, tokens: int, keep: float, generator: torch.Generator) -> Tensor:
    """Draw each clip's tokens uniformly, the same positions in all its frames.

    Args:
        batch: B.
        frames: T.
        tokens: N a frame.
        keep: fraction λ (float) or count n (int), see `kept_tokens`.
        generator: source of the draw; the mask lies on its device.

    Returns:
        bool [B, T, N], true where A's token stays; exactly n true a frame.

    Raises:
        ValueError: see `kept_tokens`.
    """
    count = kept_tokens(tokens, keep)
    keys = torch.rand(batch, tokens, generator=generator, device=generator.device, dtype=torch.float64)
    kept = keys.topk(count, dim=1, sorted=False).indices
    tube = torch.zeros(batch, tokens, dtype=torch.bool, device=generator.device).scatter_(1, kept, True)
    return tube[:, None].repeat(1, frames, 1)
