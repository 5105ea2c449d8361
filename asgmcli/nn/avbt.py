"""AV-BT's two-stream encoder and its projector: backbones, a BiLSTM a modality, and Barlow Twins' three layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from asgmcli.nn.agva import AGVA


class AudioVisualEncoder(nn.Module):
    """A backbone and a BiLSTM over time for each of sound and picture.

    Args:
        visual: frames [N, 3, H, W] -> [N, visual_dim]; where `attention` is given, -> [N, visual_dim, 7, 7].
        audio: log-mel patches [N, 1, 96, 64] -> [N, audio_dim].
        hidden: width of a BiLSTM in each direction.
        visual_dim: width of the visual features.
        audio_dim: width of the audio features.
        attention: attends to the cells of a visual map by the sound.
    """

    def __init__(
        self,
        visual: nn.Module,
        audio: nn.Module,
        hidden: int = 128,
        visual_dim: int = 512,
        audio_dim: int = 128,
        attention: AGVA | None = None,
    ) -> None:
        super().__init__()
        self.visual, self.audio, self.attention = visual, audio, attention
        self.audio_lstm = nn.LSTM(audio_dim, hidden, batch_first=True, bidirectional=True)
        self.visual_lstm = nn.LSTM(visual_dim, hidden, batch_first=True, bidirectional=True)

    def forward(self, frames: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_a and f_v, [B, T, 2 * hidden] each, of frames [B, T, 3, H, W] and patches [B, T, 1, 96, 64]."""
        return self.temporal(self.audio_features(patches), self.visual_features(frames))

    def audio_features(self, patches: Tensor) -> Tensor:
        """Return what the audio backbone makes of patches [B, T, 1, 96, 64]: [B, T, audio_dim]."""
        features: Tensor = self.audio(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        return features

    def visual_features(self, frames: Tensor) -> Tensor:
        """Return what the visual backbone makes of frames [B, T, 3, H, W]: [B, T, visual_dim], or maps
        [B, T, 7, 7, visual_dim] where there is an attention."""
        features: Tensor = self.visual(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return features if self.attention is None else features.movedim(2, -1)

    def temporal(self, a: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_a and f_v, [B, T, 2 * hidden] each, of backbone features: a [B, T, audio_dim], v
        [B, T, visual_dim], or maps [B, T, 7, 7, visual_dim] where there is an attention."""
        if self.attention is not None:
            v = self.attention(a, v)
        return self.audio_lstm(a)[0], self.visual_lstm(v)[0]

    def audio_only(self, patches: Tensor) -> Tensor:
        """Return f_a [B, T, 2 * hidden] of patches [B, T, 1, 96, 64]."""
        return cast(Tensor, self.audio_lstm(self.audio_features(patches))[0])

    def visual_only(self, frames: Tensor) -> Tensor:
        """Return f_v [B, T, 2 * hidden] of frames [B, T, 3, H, W].

        Raises:
            ValueError: the encoder attends to its pictures by the sound.
        """
        if self.attention is not None:
            raise ValueError("an encoder with an attention sees nothing without sound")
        return cast(Tensor, self.visual_lstm(self.visual_features(frames))[0])


class Projector(nn.Sequential):
    """Barlow Twins' projector: linear layers without bias, batch norm and ReLU between them.

    Args:
        dim: width of the features.
        sizes: widths of the layers; the last is D, the embedding's.
    """

    def __init__(self, dim: int = 256, sizes: Sequence[int] = (2048, 4096, 4096)) -> None:
        layers: list[nn.Module] = []
        for size in sizes[:-1]:
            layers += [nn.Linear(dim, size, bias=False), nn.BatchNorm1d(size), nn.ReLU(inplace=True)]
            dim = size
        super().__init__(*layers, nn.Linear(dim, sizes[-1], bias=False))
