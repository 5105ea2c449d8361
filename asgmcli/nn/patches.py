"""Patch embedding, and how positions are resized when the grid of patches is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Non-overlapping patches of an image to tokens: one matrix product a patch.

    `proj` is stored as the convolution that ViT checkpoints hold. With `hidden` the embedding is a small network, still
    patch by patch: `proj` to `hidden` channels, LayerNorm, GELU, then a 1x1 convolution `expand` to D. That makes small
    networks trainable from scratch (the norm alone saves about half the steps), and a token still sees its own patch
    alone, so a token mask means what it says. A token of a `tubelet` is the same patch of that many frames in a row,
    which puts motion into the token and makes the tokens fewer; `proj` then holds a channel for each of these frames,
    those of one colour beside each other.
    """

    overlaps = False

    def __init__(self, dim: int, patch_size: int, channels: int, hidden: int | None = None, tubelet: int = 1) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.tubelet = tubelet
        self.proj = nn.Conv2d(channels * tubelet, hidden or dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(hidden) if hidden else None
        self.expand = nn.Conv2d(hidden, dim, kernel_size=1) if hidden else None

    def forward(self, video: Tensor) -> Tensor:
        """Embed [B, C, T, H, W] as tokens [T / tubelet, B, N, D], time first as `TimeSformer` takes them.

        Raises:
            ValueError: the patch size does not divide H and W, or the tubelet T.
        """
        b, c, t, h, w = video.shape
        p, k = self.patch_size, self.tubelet
        if h % p or w % p:
            raise ValueError(f"patch size {p} does not divide the image of {h}x{w} pixels")
        if t % k:
            raise ValueError(f"tubelets of {k} frames do not divide the clip of {t}")
        # A convolution whose stride is its kernel is one matrix product, and one copy lays the patches out for it.
        cells = video.reshape(b, c, t // k, k, h // p, p, w // p, p).permute(2, 0, 4, 6, 1, 3, 5, 7)
        cells = cells.reshape(t // k, b, (h // p) * (w // p), c * k * p * p)
        tokens = F.linear(cells, self.proj.weight.flatten(1), self.proj.bias)
        if self.expand is None or self.norm is None:
            return tokens
        return F.linear(F.gelu(self.norm(tokens)), self.expand.weight.flatten(1), self.expand.bias)


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Resize the positional embeddings of one patch grid to another (bicubic, antialiased, as timm does).

    Args:
        positions: [1, old rows * old columns, D], row by row, without the class token's.
        old: rows and columns of the grid they were made for.
        new: rows and columns of the result.

    Returns:
        [1, new rows * new columns, D].
    """
    if old == new:
        return positions
    grid = positions.float().unflatten(1, old).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=new, mode="bicubic", align_corners=False, antialias=True)
    return grid.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)


def resize_class_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Resize like `resize_positions`, for [1, 1 + cells, D] whose first row is the class token's."""
    if old == new:
        return positions
    return torch.cat((positions[:, :1], resize_positions(positions[:, 1:], old, new)), dim=1)


def resize_times(times: Tensor, frames: int) -> Tensor:
    """Resize temporal embeddings [1, T, D] to another number of frames, nearest, as TimeSformer does."""
    if times.shape[1] == frames:
        return times
    return F.interpolate(times.transpose(1, 2), size=frames, mode="nearest").transpose(1, 2)
