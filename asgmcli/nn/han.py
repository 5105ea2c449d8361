"""HAN, the hybrid attention network (Tian et al., ECCV 2020): each modality attends to itself and to the other."""

from __future__ import annotations

import torch
from torch import Tensor

from asgmcli.nn.hybrid_attention import AttentionLayer, Layers
from asgmcli.nn.mmil import Parsed, ParsingNetwork


class HAN(ParsingNetwork):
    """One layer for both modalities, both of whose directions read the inputs; then attentive pooling.

    Args:
        dim: D.
        classes: C.
        audio_dim: width of the sound's features.
        image_dim: width of the pictures' features.
        motion_dim: width of the motion's features.
        dropout: in the layer.
    """

    def __init__(
        self,
        dim: int = 512,
        classes: int = 25,
        audio_dim: int = 128,
        image_dim: int = 2048,
        motion_dim: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dim, classes, audio_dim, image_dim, motion_dim)
        self.hat_encoder = Layers(AttentionLayer(dim, dropout, own=True, cross=True))

    def forward(self, audio: Tensor, image: Tensor, motion: Tensor) -> Parsed:
        """Parse sound [B, T, A], image [B, T or 8 T, I] and motion features [B, T, M]."""
        heard, seen = self.project(audio, image, motion)
        # Both directions go through the shared layer as one batch.
        both = self.hat_encoder.layers[0](torch.cat([heard, seen]), torch.cat([seen, heard]))
        return self.pool(*both.chunk(2))
