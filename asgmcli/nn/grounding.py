"""The grounding transformer (Lamba et al., Interspeech 2021, Section 3.2): a post-norm BERT over seconds of both kinds.

It is made of UNITER (Chen et al., ECCV 2020), whose parameter names it keeps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from asgmcli.nn.mmil import Parsed, ParsingNetwork, mean_of_seconds

SECONDS = 10
EPSILON = 1e-12
START_STD = 0.02
IMAGE_TYPE, OTHER_TYPE = 0, 1  # rows of the table of token types


class Embeddings(nn.Module):
    """A modality's tokens: projected features, plus their second, plus their type.

    Args:
        name: `img` or `audio`, the prefix of the released names.
        features: width of the features.
        dim: of the tokens.
        dropout: of the tokens.
    """

    def __init__(self, name: str, features: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.name = name
        self.add_module(f"{name}_linear", nn.Linear(features, dim))
        self.add_module(f"{name}_layer_norm", nn.LayerNorm(dim, eps=EPSILON))
        self.mask_embedding = nn.Embedding(2, features, padding_idx=0)
        self.position_embeddings = nn.Embedding(SECONDS, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, kind: Tensor) -> Tensor:
        """Return tokens [B, T, D] of features [B, T, F]; `kind` [D] is their type's vector."""
        linear, norm = self.get_submodule(f"{self.name}_linear"), self.get_submodule(f"{self.name}_layer_norm")
        tokens = norm(linear(features + self.mask_embedding.weight[1]))
        tokens = tokens + self.position_embeddings.weight[: features.shape[1]] + kind
        found: Tensor = self.dropout(self.LayerNorm(tokens))
        return found


class _SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.heads, self.dropout = heads, dropout

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [B, N, D]."""
        parts = (linear(tokens) for linear in (self.query, self.key, self.value))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        dropout = self.dropout if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).flatten(2)


class _Output(nn.Module):
    """A linear layer, dropout, and the norm of its sum with what it is added to."""

    def __init__(self, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, before: Tensor) -> Tensor:
        """Return norm(before + dense(hidden))."""
        found: Tensor = self.LayerNorm(self.dropout(self.dense(hidden)) + before)
        return found


class _Dense(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the hidden layer."""
        return nn.functional.gelu(self.dense(tokens))


class _Layer(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": _SelfAttention(dim, heads, dropout), "output": _Output(dim, dim, dropout)}
        )
        self.intermediate = _Dense(dim, hidden)
        self.output = _Output(hidden, dim, dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [B, N, D]."""
        tokens = self.attention["output"](self.attention["self"](tokens), tokens)
        found: Tensor = self.output(self.intermediate(tokens), tokens)
        return found


class _Encoder(nn.Module):
    def __init__(self, depth: int, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(dim, heads, hidden, dropout) for _ in range(depth))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [B, N, D]."""
        for layer in self.layer:
            tokens = layer(tokens)
        return tokens


class Uniter(nn.Module):
    """Embeddings of the three kinds of features, and the encoder over all their tokens."""

    def __init__(
        self, dims: tuple[int, int, int], dim: int, depth: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        audio, image, motion = dims
        self.rgb_embeddings = Embeddings("img", image, dim, dropout)
        self.r2p1d_embeddings = Embeddings("img", motion, dim, dropout)
        self.audio_embeddings = Embeddings("audio", audio, dim, dropout)
        self.token_type_embeddings = nn.Embedding(2, dim)
        self.encoder = _Encoder(depth, dim, heads, hidden, dropout)

    def forward(self, audio: Tensor, image: Tensor, motion: Tensor | None) -> list[Tensor]:
        """Return tokens [B, T, D] of the picture, the sound and, where given, the motion."""
        kinds = self.token_type_embeddings.weight
        tokens = [
            self.rgb_embeddings(image, kinds[IMAGE_TYPE]),
            self.audio_embeddings(audio, kinds[OTHER_TYPE]),
        ]
        if motion is not None:
            tokens.append(self.r2p1d_embeddings(motion, kinds[OTHER_TYPE]))
        return list(self.encoder(torch.cat(tokens, dim=1)).split(audio.shape[1], dim=1))


class GroundingTransformer(ParsingNetwork):
    """A transformer over the seconds of sound, picture and motion; for parsing with the pooling behind it.

    Args:
        dim: of the tokens.
        depth: layers.
        heads: of each.
        hidden: width of each one's hidden layer.
        head_dim: of the features that are pooled.
        classes: C.
        audio_dim: width of the sound's features.
        image_dim: width of the pictures' features.
        motion_dim: width of the motion's features.
        dropout: of tokens, attention weights and layers.
    """

    def __init__(
        self,
        dim: int = 1024,
        depth: int = 12,
        heads: int = 8,
        hidden: int = 3072,
        head_dim: int = 512,
        classes: int = 25,
        audio_dim: int = 128,
        image_dim: int = 2048,
        motion_dim: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(head_dim, classes, dim, dim, dim)
        self.uniter = Uniter((audio_dim, image_dim, motion_dim), dim, depth, heads, hidden, dropout)
        self.apply(_start)
        for embeddings in (self.uniter.rgb_embeddings, self.uniter.r2p1d_embeddings, self.uniter.audio_embeddings):
            positions = embeddings.position_embeddings.weight.requires_grad_(False)
            positions.copy_(sines(SECONDS, dim))

    def ground(self, audio: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return contextual tokens [B, T, dim] of sound [B, T, A] and image [B, T or 8 T, I], without motion."""
        seen, heard = self.uniter(audio, mean_of_seconds(image, audio.shape[1]), None)
        return heard, seen

    def forward(self, audio: Tensor, image: Tensor, motion: Tensor) -> Parsed:
        """Parse sound [B, T, A], image [B, T or 8 T, I] and motion features [B, T, M]."""
        seen, heard, moved = self.uniter(audio, mean_of_seconds(image, audio.shape[1]), motion)
        return self.pool(*self.project(heard, seen, moved))


def sines(seconds: int, dim: int) -> Tensor:
    """Return the usual positions [T, D]: sines in the even columns, cosines in the odd ones."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    angles = torch.arange(seconds)[:, None] * rates
    table = torch.zeros(seconds, dim)
    table[:, 0::2], table[:, 1::2] = angles.sin(), angles.cos()[:, : dim // 2]
    return table


def _start(module: nn.Module) -> None:
    """Draw normal(0, 0.02) weights; biases are 0, norms the identity."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=START_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
