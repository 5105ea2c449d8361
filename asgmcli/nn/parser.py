"""The parser of Lamba et al. (Interspeech 2021): Base, and what is switched on of skip, adversarial and GCAA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from asgmcli.nn.hybrid_attention import Attention, AttentionLayer, Context, Layers
from asgmcli.nn.mmil import Parsed, ParsingNetwork

DISCRIMINATOR_WIDTHS = (128, 10)


class ReverseGradient(torch.autograd.Function):
    """Passes values on as they are and gradients times -alpha (Ganin and Lempitsky, 2015)."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, alpha: float) -> Tensor:
        """Return `values`."""
        ctx.alpha = alpha  # type: ignore[attr-defined]
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient reversed and scaled."""
        return -ctx.alpha * gradients[0], None


class ModalityClassifier(nn.Module):
    """The discriminator: tells by one second's features whether they are sound or picture."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        first, second = DISCRIMINATOR_WIDTHS
        self.fc1 = nn.Linear(dim, first)
        self.norm1 = nn.BatchNorm1d(first)
        self.fc2 = nn.Linear(first, second)
        self.norm2 = nn.BatchNorm1d(second)
        self.fc3 = nn.Linear(second, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Return [n] the probability of picture for each of rows [n, D]."""
        hidden = self.norm1(self.fc1(rows)).relu()
        hidden = self.norm2(self.fc2(hidden)).relu()
        return torch.sigmoid(self.fc3(hidden).float()).squeeze(-1)


class Parser(ParsingNetwork):
    """Self-attention a modality, cross-attention shared by both, a shared linear layer; then attentive pooling.

    Args:
        dim: D.
        classes: C.
        audio_dim: width of the sound's features.
        image_dim: width of the pictures' features.
        motion_dim: width of the motion's features.
        dropout: in the layers.
        attention: `multihead`, or `global` for attention with global context in every place.
        skip: add the self-attended modality to the shared features.
        adversarial: have the discriminator `mod_classifier`.
        context: under global attention `each` second gets its own output, or all of them the `first` one's.
        cross: have the cross-attention layer.
    """

    def __init__(
        self,
        dim: int = 512,
        classes: int = 25,
        audio_dim: int = 128,
        image_dim: int = 2048,
        motion_dim: int = 512,
        dropout: float = 0.1,
        attention: Attention = "multihead",
        skip: bool = False,
        adversarial: bool = False,
        context: Context = "each",
        cross: bool = True,
    ) -> None:
        super().__init__(dim, classes, audio_dim, image_dim, motion_dim)

        def layer(own: bool) -> AttentionLayer:
            return AttentionLayer(dim, dropout, own=own, cross=not own, attention=attention, context=context)

        self.attention = attention
        self.sa_layer_a = layer(own=True)
        self.sa_layer_v = layer(own=True)
        self.cma_layer = Layers(layer(own=False)) if cross else None
        self.shared_fc = nn.Linear(dim, dim)
        self.norm_a = nn.LayerNorm(dim) if skip else None
        self.norm_v = nn.LayerNorm(dim) if skip else None
        self.mod_classifier = ModalityClassifier(dim) if adversarial else None

    def forward(self, audio: Tensor, image: Tensor, motion: Tensor) -> Parsed:
        """Parse sound [B, T, A], image [B, T or 8 T, I] and motion features [B, T, M]."""
        heard, seen = self.project(audio, image, motion)
        own_audio, own_visual = self.sa_layer_a(heard), self.sa_layer_v(seen)
        # Both directions go through the shared layers as one batch.
        both = torch.cat([own_audio, own_visual])
        if self.cma_layer is not None:
            both = self.cma_layer.layers[0](both, torch.cat([own_visual, own_audio]))
        shared_audio, shared_visual = self.shared_fc(both).chunk(2)
        if self.norm_a is not None and self.norm_v is not None:
            shared_audio, shared_visual = self.norm_a(shared_audio + own_audio), self.norm_v(shared_visual + own_visual)
        return self.pool(shared_audio, shared_visual)

    def modality(self, features: Tensor, alpha: float) -> Tensor:
        """Return G [B, T, 2], the probability of picture of features [B, T, 2, D]; their gradient comes back times
        -alpha.

        Raises:
            ValueError: the parser has no discriminator.
        """
        if self.mod_classifier is None:
            raise ValueError("a parser without adversarial=True has no discriminator")
        rows: Tensor = ReverseGradient.apply(features.relu(), alpha)
        found: Tensor = self.mod_classifier(rows.flatten(0, 2)).unflatten(0, features.shape[:3])
        return found
