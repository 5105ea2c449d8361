"""The loss of AV-BT (Eq. 1-2): Barlow Twins (Zbontar et al., 2021) between sound and picture, correlated over time."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalise = Literal["correlation", "printed", "batch"]

_SMALLEST = 1e-6  # norms below it are of what is constant over time


def temporal_correlation(audio: Tensor, visual: Tensor) -> Tensor:
    """Compute the correlation over time of every audio with every visual feature, averaged over videos (Eq. 2).

    Args:
        audio: embeddings [B, T, D].
        visual: embeddings [B, T, D].

    Returns:
        C float32 [D, D], rows audio, in [-1, 1]; a feature that is constant over a video's time counts as 0 there.
    """
    with torch.autocast("cpu" if audio.is_meta else audio.device.type, enabled=False):
        z_audio, z_visual = _over_time(audio), _over_time(visual)
        return z_audio.flatten(0, 1).T @ z_visual.flatten(0, 1) / len(audio)


def barlow_loss(
    audio: Tensor, visual: Tensor, *, weight: float = 5e-3, normalise: Normalise = "correlation"
) -> dict[str, Tensor]:
    """Compute L_AVBT (Eq. 1) of projected embeddings.

    The [B, D, D] of the paper's Algorithm 1 is never formed: C is one product over all videos' segments, and where
    these are fewer than D it is not formed either, since the sum of its squares is that of two [B * T, B * T].

    Args:
        audio: [B, T, D].
        visual: [B, T, D].
        weight: lambda, of the redundancy.
        normalise: `correlation` is Eq. 2; `printed` is C as Algorithm 1 prints it, T - 1 times as large; `batch`
            correlates over all rows at once, as Barlow Twins does.

    Returns:
        Scalars: `invariance`, sum of (1 - C_ii)^2; `redundancy`, sum of C_ij^2 off the diagonal, without its weight;
        `loss`, the first plus weight times the second. Always float32.
    """
    with torch.autocast("cpu" if audio.is_meta else audio.device.type, enabled=False):
        if normalise == "batch":
            z_audio, z_visual = (_over_rows(part.float().flatten(0, 1)) for part in (audio, visual))
            scale = 1.0
        else:
            z_audio, z_visual = (_over_time(part).flatten(0, 1) for part in (audio, visual))
            scale = (audio.shape[1] - 1 if normalise == "printed" else 1) / len(audio)
        rows, width = z_audio.shape
        if rows < width:
            diagonal = (z_audio * z_visual).sum(0) * scale
            squares = ((z_audio @ z_audio.T) * (z_visual @ z_visual.T)).sum() * scale**2
        else:
            correlation = z_audio.T @ z_visual * scale
            diagonal, squares = correlation.diagonal(), correlation.square().sum()
        invariance = (1 - diagonal).square().sum()
        redundancy = squares - diagonal.square().sum()
        return {"invariance": invariance, "redundancy": redundancy, "loss": invariance + weight * redundancy}


def _over_time(embeddings: Tensor) -> Tensor:
    """Return [B, T, D] less its mean over T, of norm 1 over T; 0 where the norm is next to 0."""
    centred = embeddings.float()
    centred = centred - centred.mean(1, keepdim=True)
    return _of_norm_one(centred, 1)


def _over_rows(embeddings: Tensor) -> Tensor:
    """Return [N, D] less its mean over N, of norm 1 over N."""
    return _of_norm_one(embeddings - embeddings.mean(0), 0)


def _of_norm_one(values: Tensor, dim: int) -> Tensor:
    # The root's gradient at 0 is infinite: small norms are replaced before it is taken.
    squares = values.square().sum(dim, keepdim=True)
    moves = squares >= _SMALLEST**2
    factor = torch.where(moves, squares, 1.0).rsqrt() * moves
    return values * factor
