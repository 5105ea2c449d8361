"""Fusion of picture and sound: a transformer encoder over the two class tokens (the paper's Eq. 11)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asgmcli.nn.attention import NORM_EPSILON, init_transformer
from asgmcli.nn.vit import Block


class FusionTransformer(nn.Module):
    """Pre-norm encoder layers over (video, audio), LayerNorm, mean of the two tokens, linear classifier.

    The two tokens carry no modality embedding of their own: each comes out of its encoder's last LayerNorm, whose bias
    is one.

    Args:
        dim: width D of both class tokens.
        classes: K.
        layers: number of encoder layers.
        heads: attention heads; divides `dim`.
    """

    def __init__(self, dim: int, classes: int, layers: int = 2, heads: int = 8) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.head = nn.Linear(dim, classes)
        self.apply(init_transformer)

    def forward(self, video: Tensor, audio: Tensor) -> Tensor:
        """Return logits [B, K] from class tokens [B, D] of video and [B, D] of audio."""
        x = torch.stack((video, audio), dim=1)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x).mean(1))
        return logits
