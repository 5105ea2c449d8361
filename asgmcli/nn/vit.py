"""A vision transformer over the log-mel image: the audio encoder (Gong et al., "AST", 2021, with a ViT's own names)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asgmcli.nn.attention import INIT_STD, NORM_EPSILON, Attention, Mlp, add_branch, init_transformer, survival
from asgmcli.nn.patches import PatchEmbed


class Block(nn.Module):
    """Pre-norm transformer block, with timm's parameter names."""

    def __init__(self, dim: int, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor, first_only: bool = False) -> Tensor:
        """Apply the block: [B, S, D] -> [B, S, D]; `first_only` computes and returns the first token alone, [B, D]."""
        drop = self.training and self.drop_path > 0
        shape = (x.shape[0], 1) if first_only else (x.shape[0], 1, 1)
        if first_only:
            branch, x = self.attn.first(self.norm1(x)), x[:, 0]
        else:
            branch = self.attn(self.norm1(x))
        x = add_branch(x, branch, survival(shape, self.drop_path, x) if drop else None)
        return add_branch(x, self.mlp(self.norm2(x)), survival(shape, self.drop_path, x) if drop else None)


class AudioTransformer(nn.Module):
    """ViT over a log-mel image with non-overlapping patches; the class token is the clip's feature.

    Patches run as AST's do: rows are frequency, columns are time, row by row.

    Args:
        dim: width D.
        depth: number of blocks.
        heads: attention heads; divides `dim`.
        mels: M, mel bins; a multiple of `patch_size`.
        length: L, time steps; a multiple of `patch_size`.
        patch_size: side of a patch, in bins and steps.
        drop_path, embed_hidden, checkpoint_activations: as `TimeSformer` has them.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        mels: int = 128,
        length: int = 400,
        patch_size: int = 16,
        drop_path: float = 0.1,
        embed_hidden: int | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        if mels % patch_size or length % patch_size:
            raise ValueError(f"patch_size {patch_size} must divide mels {mels} and length {length}")
        self.grid = (mels // patch_size, length // patch_size)
        self.checkpoint_activations = checkpoint_activations
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], dim))
        self.patch_embed = PatchEmbed(dim, patch_size, channels=1, hidden=embed_hidden)
        rates = np.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(Block(dim, heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.apply(init_transformer)
        nn.init.trunc_normal_(self.cls_token, std=INIT_STD)
        nn.init.trunc_normal_(self.pos_embed, std=INIT_STD)

    def forward(self, logmel: Tensor) -> Tensor:
        """Return class-token features [B, D] of a normalised log-mel [B, L, M].

        Raises:
            ValueError: L or M differ from those the network was built for.
        """
        tokens = self.patch_embed(logmel.transpose(1, 2)[:, None, None])[0]
        if tokens.shape[1] != self.grid[0] * self.grid[1]:
            raise ValueError(f"log-mel of {tuple(logmel.shape[1:])} gives {tokens.shape[1]} tokens, not {self.grid}")
        x = torch.cat((self.cls_token.expand(len(tokens), -1, -1), tokens), dim=1) + self.pos_embed
        for number, block in enumerate(self.blocks, start=1):
            last = number == len(self.blocks)
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(block, x, last, use_reentrant=False)
            else:
                x = block(x, last)
        features: Tensor = self.norm(x)
        return features
