"""PSP (Zhou et al., CVPR 2021): positive sample propagation between a video's audio and visual segments."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from asgmcli.nn.agva import AGVA

AUDIO_DIM, VISUAL_DIM, HIDDEN = 128, 512, 128
WIDTH = 2 * HIDDEN


class PSPNet(nn.Module):
    """PSP's network of its supervised task, with the released parameter names; layers it never uses are left out.

    Args:
        classes: K, the background among them.
        dropout: after each ReLU of the propagation.
        widths: of the audio features and of a map's channels.
        cells: of a map.
    """

    def __init__(
        self,
        classes: int = 29,
        dropout: float = 0.1,
        *,
        widths: tuple[int, int] = (AUDIO_DIM, VISUAL_DIM),
        cells: int = 49,
    ) -> None:
        super().__init__()
        self.fa = _two_layers(widths[0], 256, 128)
        self.fv = _two_layers(widths[1], 256, 128)
        self.attention = AGVA(128, widths[1], cells=cells)
        self.lstm_a_v = BothLSTM(128, HIDDEN)
        self.psp = Propagation(WIDTH, dropout)
        self.L1 = nn.Linear(WIDTH, 64, bias=False)
        self.L2 = nn.Linear(64, classes, bias=False)

    def forward(self, audio: Tensor, visual: Tensor, threshold: float = 0.099) -> tuple[Tensor, Tensor]:
        """Classify each segment.

        Args:
            audio: [B, T, 128].
            visual: [B, T, 7, 7, 512].
            threshold: connections that are not above it are cut.

        Returns:
            Logits [B, T, K], and the cosine of both streams [B, T].
        """
        sound = self.fa(audio)
        picture = self.fv(self.attention(sound, visual))
        sound, picture = self.psp(*self.lstm_a_v(sound, picture), threshold)
        similarity = F.cosine_similarity(picture, sound, dim=-1)
        logits = self.L2(self.L1((picture + sound) / 2).relu())
        return logits, similarity


class BothLSTM(nn.Module):
    """A BiLSTM a modality."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.lstm_audio = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.lstm_video = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Return both [B, T, 2 * hidden] of audio and visual [B, T, dim]."""
        return self.lstm_audio(audio)[0], self.lstm_video(visual)[0]


class Propagation(nn.Module):
    """Positive sample propagation: each stream collects the segments of the other one that resemble its own."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.v_L1, self.v_L2, self.v_fc = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.a_L1, self.a_L2, self.a_fc = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.layer_norm = nn.LayerNorm(dim, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    def forward(self, audio: Tensor, visual: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
        """Return both streams, [B, T, dim] each, audio first."""
        a1, a2, v1, v2 = (
            self.dropout(layer(stream).relu())
            for layer, stream in ((self.a_L1, audio), (self.a_L2, audio), (self.v_L1, visual), (self.v_L2, visual))
        )
        similarity = (v2 @ a1.mT / v2.shape[-1] ** 0.5).relu()  # [B, T, T], rows visual
        picture = visual + _cut(similarity, threshold) @ a2
        sound = audio + _cut(similarity.mT, threshold) @ v1
        return self._out(self.a_fc, sound), self._out(self.v_fc, picture)

    def _out(self, layer: nn.Linear, stream: Tensor) -> Tensor:
        out: Tensor = self.layer_norm(self.dropout(layer(stream).relu()))
        return out


def _cut(similarity: Tensor, threshold: float) -> Tensor:
    """Return the rows of [B, T, T] as shares, those not above the threshold set to 0, as shares again."""
    shares = similarity / (similarity.sum(-1, keepdim=True) + 1e-8)
    kept = shares * (shares > threshold)
    return kept / (kept.sum(-1, keepdim=True) + 1e-8)


def _two_layers(dim: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden, bias=False), nn.Linear(hidden, out, bias=False))
