"""The localization-guided mask: tokens drawn where the sound comes from (thesis, Sec. 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.masks.tube import kept_tokens

# Zero-weight cells cannot fill a quota larger than the number of others; with this floor they can.
WEIGHT_FLOOR = 1e-6
# A map whose range is below this share of its largest magnitude is flat up to the rounding of single precision.
_FLAT = 1e-6


def heatmap_mask(
    heatmap: Tensor,
    *,
    grid: tuple[int, int],
    keep: float,
    generator: torch.Generator,
    average_frames: int = 1,
    sharpness: float = 1.0,
) -> Tensor:
    """Draw n of N tokens a frame without replacement, with probability proportional to the heat map.

    Args:
        heatmap: [B, T, h, w] of clip A, any scale and sign; a flat one draws uniformly.
        grid: (rows, columns) of the token grid, N = rows · columns.
        keep: fraction λ (float) or count n (int), see `asgmcli.masks.tube.kept_tokens`.
        generator: source of the draw, on any device.
        average_frames: 1, 2, 4 or 8 neighbouring frames whose maps are averaged and which share one draw (Figure 5).
        sharpness: power of the normalised map; above 1 the draw keeps closer to the peak.

    Returns:
        bool [B, T, N], true where A's token stays; exactly n true a frame.

    Raises:
        ValueError: NaN or infinity in the map, or an argument outside its range.
    """
    weights = _group_weights(heatmap, grid, average_frames, sharpness)
    return _share(draw_tokens(weights, keep, generator), average_frames)


def token_weights(heatmap: Tensor, grid: tuple[int, int], average_frames: int = 1, sharpness: float = 1.0) -> Tensor:
    """Return the weights by which `heatmap_mask` draws: [B, T, N] float64 in 1e-6..1, equal within a group of frames.

    The map is averaged over neighbouring frames, resized (bilinear) to the grid, min-max normalised per frame, raised
    to the sharpness and kept above 1e-6. Arguments and errors as `heatmap_mask`.
    """
    return _share(_group_weights(heatmap, grid, average_frames, sharpness), average_frames)


def draw_tokens(weights: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    """Draw tokens without replacement, with probability proportional to their weights (Gumbel top-n trick).

    With E exponential, the order of E / w ascending is that of sequential draws proportional to w without replacement.
    Double precision, because a single-precision uniform has steps of 6e-8, too coarse beside weights of 1e-6.

    Args:
        weights: [..., N] positive and finite.
        keep: fraction λ (float) or count n (int), see `asgmcli.masks.tube.kept_tokens`.
        generator: source of the draw, on any device; the same state gives the same draw whatever the weights' device.

    Returns:
        bool [..., N] with exactly n true in every row.
    """
    count = kept_tokens(weights.shape[-1], keep)
    uniform = torch.rand(weights.shape, generator=generator, device=generator.device, dtype=torch.float64)
    # log1p(-U) is -E; dividing by the weight and taking the largest is taking the smallest E / w.
    keys = uniform.neg_().log1p_().to(weights.device).div_(weights)
    kept = keys.topk(count, dim=-1, sorted=False).indices
    return torch.zeros(weights.shape, dtype=torch.bool, device=weights.device).scatter_(-1, kept, True)


def apart(heatmap_a: Tensor, heatmap_b: Tensor) -> Tensor:
    """Return maps [B, T, h, w] that are high where A's is and B's is not: the difference of both in 0..1 a frame.

    A mixture that is drawn by it keeps A's source and leaves B's free.

    Args:
        heatmap_a: [B, T, h, w] of the clips A, any scale and sign.
        heatmap_b: [B, T, h, w] of their partners B, as these are shown.
    """
    return _normalised(heatmap_a) - _normalised(heatmap_b)


def _normalised(heatmap: Tensor) -> Tensor:
    """Return maps [B, T, h, w] float64, min-max normalised a frame; a flat one is 0."""
    flat = heatmap.detach().double().flatten(2)
    return _min_max(flat).view(heatmap.shape)


def _min_max(maps: Tensor) -> Tensor:
    """Return [..., N] in 0..1; a row that is flat up to rounding is 0."""
    low, high = torch.aminmax(maps, dim=-1, keepdim=True)
    flat = high - low <= _FLAT * torch.maximum(high.abs(), low.abs())
    return (maps - low) / (high - low).masked_fill(flat, torch.inf)


def _group_weights(heatmap: Tensor, grid: tuple[int, int], average_frames: int, sharpness: float) -> Tensor:
    """Return [B, T / average_frames, N] float64: `token_weights` before it is spread over the frames of a group."""
    batch, frames, height, width = heatmap.shape
    if average_frames < 1 or frames % average_frames:
        raise ValueError(f"average_frames must divide the {frames} frames, got {average_frames}")
    if not sharpness > 0:
        raise ValueError(f"sharpness must be positive, got {sharpness}")
    if not bool(torch.isfinite(heatmap).all()):
        raise ValueError("the heat map holds NaN or infinity")
    maps = heatmap.detach().double().reshape(-1, average_frames, height, width).mean(dim=1)
    resized = F.interpolate(maps[:, None], size=grid, mode="bilinear", align_corners=False).flatten(1)
    normal = _min_max(resized)
    weights = (normal if sharpness == 1 else normal.pow(sharpness)).clamp_min(WEIGHT_FLOOR)
    return weights.reshape(batch, frames // average_frames, -1)


def _share(groups: Tensor, frames: int) -> Tensor:
    """Spread each group's row over its frames, [B, G, N] -> [B, G · frames, N]; a copy is far faster than an index."""
    return groups[:, :, None].expand(-1, -1, frames, -1).flatten(1, 2)
