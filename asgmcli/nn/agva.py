"""Audio-guided visual attention (Tian et al., ECCV 2018): which cells of the picture a second's sound looks at."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class AttentionLayers(Protocol):
    """The linear layers of the attention, under their released names."""

    affine_audio: nn.Linear
    affine_video: nn.Linear
    affine_v: nn.Linear
    affine_g: nn.Linear
    affine_h: nn.Linear


def add_attention(module: nn.Module, audio_dim: int, visual_dim: int, hidden: int, cells: int) -> None:
    """Add the attention's layers to `module` under their released names."""
    module.affine_audio = nn.Linear(audio_dim, hidden)
    module.affine_video = nn.Linear(visual_dim, hidden)
    module.affine_v = nn.Linear(hidden, cells, bias=False)
    module.affine_g = nn.Linear(hidden, cells, bias=False)
    module.affine_h = nn.Linear(cells, 1, bias=False)


def cell_weights(layers: AttentionLayers, audio: Tensor, visual: Tensor) -> Tensor:
    """Return the share of each cell, [B, T, h, w], of audio [B, T, A] and maps [B, T, h, w, C]."""
    cells = visual.flatten(2, 3)
    picture = layers.affine_v(layers.affine_video(cells).relu())  # [B, T, cells, 49]
    sound = layers.affine_g(layers.affine_audio(audio).relu())  # [B, T, 49]: a number a cell, added to all its 49
    score: Tensor = layers.affine_h(torch.tanh(picture + sound[..., None])).squeeze(-1)
    shares: Tensor = score.softmax(-1).unflatten(-1, visual.shape[2:4])
    return shares


def attend(layers: AttentionLayers, audio: Tensor, visual: Tensor) -> Tensor:
    """Return the weighted sum of the cells, [B, T, C], of audio [B, T, A] and maps [B, T, h, w, C]."""
    weights = cell_weights(layers, audio, visual).flatten(2)
    return (weights[..., None, :] @ visual.flatten(2, 3)).squeeze(-2)


class AGVA(nn.Module):
    """Audio-guided visual attention.

    Args:
        audio_dim: A, width of the audio features.
        visual_dim: C, channels of the visual maps.
        hidden: width of both in the attention.
        cells: of a map, h * w.
    """

    affine_audio: nn.Linear
    affine_video: nn.Linear
    affine_v: nn.Linear
    affine_g: nn.Linear
    affine_h: nn.Linear

    def __init__(self, audio_dim: int = 128, visual_dim: int = 512, hidden: int = 512, cells: int = 49) -> None:
        super().__init__()
        add_attention(self, audio_dim, visual_dim, hidden, cells)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Return [B, T, C], the cells of maps [B, T, h, w, C] weighted by what audio [B, T, A] attends to."""
        return attend(self, audio, visual)

    def weights(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Return the weights of the cells, [B, T, h, w], which add up to 1."""
        return cell_weights(self, audio, visual)
