"""AVEL (Tian et al., ECCV 2018): audio-guided attention, a BiLSTM a modality, and a small classifier."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from asgmcli.nn.agva import add_attention, attend

Modality = Literal["both", "audio", "visual"]

AUDIO_DIM, VISUAL_DIM, HIDDEN, CELLS = 128, 512, 128, 49


class AVEL(nn.Module):
    """AVE's network of its supervised task, with the released parameter names.

    Args:
        classes: K, the background among them.
        modality: `audio` or `visual` keeps one BiLSTM.
        attention: attend to the picture by the sound; else, and with the picture alone, the mean of the cells is taken.
        widths: of the audio features and of a map's channels.
        cells: of a map.
    """

    affine_audio: nn.Linear
    affine_video: nn.Linear
    affine_v: nn.Linear
    affine_g: nn.Linear
    affine_h: nn.Linear

    def __init__(
        self,
        classes: int = 29,
        modality: Modality = "both",
        attention: bool = True,
        *,
        widths: tuple[int, int] = (AUDIO_DIM, VISUAL_DIM),
        cells: int = CELLS,
    ) -> None:
        super().__init__()
        self.modality = modality
        self.attends = attention and modality == "both"
        if modality != "visual":
            self.lstm_audio = nn.LSTM(widths[0], HIDDEN, batch_first=True, bidirectional=True)
        if modality != "audio":
            self.lstm_video = nn.LSTM(widths[1], HIDDEN, batch_first=True, bidirectional=True)
        if self.attends:
            add_attention(self, *widths, 512, cells)
        self.L1 = nn.Linear(2 * HIDDEN * (2 if modality == "both" else 1), 64)
        self.L2 = nn.Linear(64, classes)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Return logits [B, T, K] of audio [B, T, 128] and visual maps [B, T, 7, 7, 512]."""
        streams = []
        if self.modality != "visual":
            streams.append(self.lstm_audio(audio)[0])
        if self.modality != "audio":
            picture = attend(self, audio, visual) if self.attends else visual.mean((2, 3))
            streams.append(self.lstm_video(picture)[0])
        logits: Tensor = self.L2(self.L1(torch.cat(streams, -1).relu()).relu())
        return logits
