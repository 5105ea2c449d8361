"""Mix two clips: their tokens, their sound, and each one's share (thesis, Eq. 7-8)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def mix_tokens(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Mix tokens by Eq. 7: A's where the mask is 1, B's elsewhere, after the patch embedding and before the positions.

    Args:
        a: [B, T, N, D].
        b: [B, T, N, D].
        mask: [B, T, N] bool, or 0 and 1.

    Returns:
        [B, T, N, D].
    """
    return torch.where(mask[..., None].bool(), a, b)


def mix_pixels(a: Tensor, b: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mix pixels patch by patch: A's where the mask is 1. Patches, each embedded by itself, are those of `mix_tokens`.

    Args:
        a: [B, C, T, H, W].
        b: [B, C, T, H, W].
        mask: [B, T / k, N] bool, or 0 and 1; each of its times holds for k frames.
        grid: rows and columns of the N patches, which divide H and W.

    Returns:
        [B, C, T, H, W].
    """
    times, height, width = a.shape[2:]
    kept = mask.bool().unflatten(2, grid)
    for dim, whole in ((1, times), (2, height), (3, width)):
        kept = kept.repeat_interleave(whole // kept.shape[dim], dim)
    return torch.where(kept[:, None], a, b)


def mix_audio(a: Tensor, b: Tensor, weight: Tensor | float) -> Tensor:
    """Mix two log-mel filter banks by Eq. 8: weight·A + (1 - weight)·B.

    Args:
        a: [B, L, M].
        b: [B, L, M].
        weight: scalar or [B] in 0..1, A's share.

    Returns:
        [B, L, M].
    """
    share = torch.as_tensor(weight, dtype=a.dtype, device=a.device)
    share = share.reshape(-1, 1, 1) if share.dim() else share
    return share * a + (1 - share) * b


def draw_lambda(alpha: float, beta: float, generator: torch.Generator) -> float:
    """Draw λ ~ Beta(α, β), seeded by the next draw of the generator.

    Args:
        alpha: α > 0 (5 with the guided mask, 10 with the tube).
        beta: β > 0 (10).
        generator: its state decides, and moves on by one draw.

    Raises:
        ValueError: α or β not positive.
    """
    if not (alpha > 0 and beta > 0):
        raise ValueError(f"the Beta distribution needs positive parameters, got {alpha} and {beta}")
    seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
    return float(np.random.default_rng(int(seed)).beta(alpha, beta))


def partners(batch: int, generator: torch.Generator) -> Tensor:
    """Return [B] int64: the index of each clip's partner B, a random permutation of the batch."""
    return torch.randperm(batch, generator=generator, device=generator.device)


def mass_weight(weights_a: Tensor, weights_b: Tensor, mask: Tensor) -> Tensor:
    """Return A's share of the mixture by heat-map mass: how much of each source's mass remains.

    λ' = s_A / (s_A + s_B), where s_A is the share of A's weights under the kept tokens and s_B that of B's under the
    rest, each summed over the whole clip.

    Args:
        weights_a: [B, T, N] of `asgmcli.masks.heatmap.token_weights` for A, positive.
        weights_b: [B, T, N] for the partner B.
        mask: [B, T, N] bool, or 0 and 1; 1 keeps A.

    Returns:
        [B] float32 in 0..1. Uniform weights give the fraction of tokens kept.
    """
    kept = mask.bool()
    share_a = weights_a.mul(kept).sum(dim=(1, 2)) / weights_a.sum(dim=(1, 2))
    share_b = weights_b.mul(~kept).sum(dim=(1, 2)) / weights_b.sum(dim=(1, 2))
    return (share_a / (share_a + share_b)).float()
