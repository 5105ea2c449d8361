"""TimeSformer with divided space-time attention (Bertasius et al., 2021), as SVFormer uses it.

Parameter names are those of the released TimeSformer and SVFormer checkpoints. Tokens are walked time first, [T, B, N,
D]: then attention over time (rows B x N) and attention over space (rows T x B) are both views of the same memory.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asgmcli.nn.attention import INIT_STD, NORM_EPSILON, Attention, Mlp, add_branch, attend, init_transformer, survival
from asgmcli.nn.patches import PatchEmbed, resize_class_positions, resize_times
from asgmcli.nn.stem import CELL, ConvolutionStem


class DividedBlock(nn.Module):
    """One block: attention over time, attention over space, feed-forward; each with LayerNorm before it."""

    def __init__(self, dim: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attn = Attention(dim, heads)
        self.temporal_norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.temporal_attn = Attention(dim, heads)
        self.temporal_fc = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = Mlp(dim)

    def forward(self, patches: Tensor, cls: Tensor, last: bool = False) -> tuple[Tensor, Tensor]:
        """Apply the block to patch tokens [T, B, N, D] and class tokens [B, D]; return both in the same shapes.

        `last` computes only the class tokens after the attention over time; the patch tokens come back unfinished.
        """
        patches = self._over_time(patches)
        patches, cls = self._over_space(patches, cls, last)
        factor = self._survival((cls.shape[0], 1), cls)
        new_cls = add_branch(cls, self.mlp(self.norm2(cls)), factor)
        if not last:
            factor = None if factor is None else factor[:, None]
            patches = add_branch(patches, self.mlp(self.norm2(patches)), factor)
        return patches, new_cls

    def _survival(self, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
        return survival(shape, self.drop_path, like) if self.training and self.drop_path > 0 else None

    def _over_time(self, x: Tensor) -> Tensor:
        """Attend over time: [T, B, N, D] -> the same, each patch position to itself in the other frames."""
        t, b, n, d = x.shape
        attention, last = self.temporal_attn, self.temporal_fc
        normed = self.temporal_norm1(x)
        # temporal_fc(proj(y)) with nothing between: the product of the two matrices saves a pass over every token.
        weight = last.weight @ attention.proj.weight
        bias = F.linear(attention.proj.bias, last.weight)
        factor = self._survival((1, b, n, 1), x)
        if factor is None:
            bias = bias + last.bias
        else:
            x = x + last.bias  # the reference drops what temporal_fc reads, not its bias
        if t == 1:
            # A frame alone attends to itself: what is mixed are its values, a third matrix of that product.
            bias = bias + F.linear(attention.qkv.bias[2 * d :], weight)
            return add_branch(x, F.linear(normed, weight @ attention.qkv.weight[2 * d :], bias), factor)
        qkv = attention.qkv(normed).view(t, b * n, 3 * d).transpose(0, 1)
        mixed = attend(qkv, attention.heads).transpose(0, 1).reshape(t, b, n, d)
        return add_branch(x, F.linear(mixed, weight, bias), factor)

    def _over_space(self, x: Tensor, cls: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """Attend within each frame, its patches and a copy of the class token; the copies are averaged back."""
        t, b, n, d = x.shape
        tokens = torch.cat((cls.expand(t, b, d).unsqueeze(2), x), dim=2).view(t * b, n + 1, d)
        factor = self._survival((t, b, 1, 1), x)
        if last:
            branch = self.attn.first(self.norm1(tokens)).view(t, b, d)
            branch = branch if factor is None else branch * factor[..., 0]
            return x, cls + branch.mean(0)
        branch = self.attn(self.norm1(tokens)).view(t, b, n + 1, d)
        for_cls = branch[:, :, 0] if factor is None else branch[:, :, 0] * factor[..., 0]
        return add_branch(x, branch[:, :, 1:], factor), cls + for_cls.mean(0)


class TimeSformer(nn.Module):
    """Video transformer over T frames of N patches with one class token a clip.

    Args:
        dim: width D.
        depth: number of blocks.
        heads: attention heads; divides `dim`.
        frames: T the temporal embedding is made for; a clip of another length resizes it.
        classes: K of the head; 0 for none (then `forward` gives the features).
        image_size: H = W in pixels the positions are made for; square clips of another size resize them.
        patch_size: P in pixels.
        drop_path: stochastic depth of the last block, growing linearly from 0 in the first.
        embed_hidden: width of the patch embedding's hidden layer (see `PatchEmbed`); None for the plain projection.
        tubelet: frames a token spans; divides `frames`. The T of all tokens is then T / tubelet.
        convolutions: embed by a `ConvolutionStem`, whose patches are of 8 pixels and of one frame.
        checkpoint_activations: recompute each block in the backward pass instead of storing its activations.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        frames: int,
        classes: int,
        image_size: int = 224,
        patch_size: int = 16,
        drop_path: float = 0.1,
        *,
        embed_hidden: int | None = None,
        tubelet: int = 1,
        convolutions: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        if convolutions and (patch_size != CELL or tubelet != 1 or embed_hidden is not None):
            raise ValueError(f"a stem of convolutions has patches of {CELL} pixels and one frame, no hidden layer")
        if image_size % patch_size:
            raise ValueError(f"patch_size must divide image_size: {patch_size} and {image_size}")
        if frames % tubelet:
            raise ValueError(f"tubelet must divide frames: {tubelet} and {frames}")
        side = image_size // patch_size
        self.grid = (side, side)
        self.checkpoint_activations = checkpoint_activations
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + side * side, dim))
        self.time_embed = nn.Parameter(torch.zeros(1, frames // tubelet, dim))
        self.patch_embed: PatchEmbed | ConvolutionStem = (
            ConvolutionStem(dim) if convolutions else PatchEmbed(dim, patch_size, 3, embed_hidden, tubelet)
        )
        rates = np.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(DividedBlock(dim, heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.head = nn.Linear(dim, classes) if classes else nn.Identity()
        self.apply(init_transformer)
        nn.init.trunc_normal_(self.cls_token, std=INIT_STD)
        nn.init.trunc_normal_(self.pos_embed, std=INIT_STD)
        for block in self.modules():
            if isinstance(block, DividedBlock):  # every block starts as the image model's
                nn.init.zeros_(block.temporal_fc.weight)

    def embed(self, video: Tensor) -> Tensor:
        """Embed normalised [B, 3, T, H, W] as tokens [B, T / tubelet, N, D] before positions, where clips are mixed."""
        found: Tensor = self.patch_embed(video).transpose(0, 1)
        return found

    def encode(self, tokens: Tensor) -> Tensor:
        """Return class-token features [B, D], normalised, of patch tokens [B, T, N, D] before positions.

        Raises:
            ValueError: N is neither this network's grid nor a square.
        """
        _, cls = self._walk(tokens, class_only=True)
        features: Tensor = self.norm(cls)
        return features

    def encode_all(self, tokens: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode like `encode`, and return the patches' features too: [B, D] and [B, T, N, D], normalised.

        `kept` int64 [B, N] gives the cells of this network's grid that the N tokens stand for, if they are a subset.
        """
        patches, cls = self._walk(tokens, class_only=False, kept=kept)
        return self.norm(cls), self.norm(patches).transpose(0, 1)

    def _walk(self, tokens: Tensor, class_only: bool, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply all blocks. Return patches [T, B, N, D], unfinished with `class_only`, and class tokens [B, D]."""
        b, frames, cells, _ = tokens.shape
        if kept is None:
            positions = resize_class_positions(self.pos_embed, self.grid, self._grid_of(cells))
            cell_positions = positions[:, 1:]
        else:
            positions, cell_positions = self.pos_embed, self.pos_embed[0, 1:][kept]
        times = resize_times(self.time_embed, frames)[0]
        patches = (tokens.transpose(0, 1) + (cell_positions + times[:, None, None])).contiguous()
        cls = (self.cls_token[0] + positions[:, 0]).expand(b, -1)
        for number, block in enumerate(self.blocks, start=1):
            last = class_only and number == len(self.blocks)
            if self.checkpoint_activations and torch.is_grad_enabled():
                patches, cls = checkpoint(block, patches, cls, last, use_reentrant=False)
            else:
                patches, cls = block(patches, cls, last)
        return patches, cls

    def features(self, video: Tensor) -> Tensor:
        """Return class-token features [B, D] of [B, 3, T, H, W]."""
        return self.encode(self.embed(video))

    def forward(self, video: Tensor) -> Tensor:
        """Return logits [B, K] of [B, 3, T, H, W]."""
        found: Tensor = self.head(self.features(video))
        return found

    def _grid_of(self, cells: int) -> tuple[int, int]:
        if cells == self.grid[0] * self.grid[1]:
            return self.grid
        side = round(cells**0.5)
        if side * side != cells:
            raise ValueError(f"{cells} tokens a frame are no square grid; this network's is {self.grid}")
        return side, side
