"""A small network of convolutions that names the shapes of generated stills, and the features it has of a frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (24, 48, 96, 128)
CELL = 8
"""Pixels of a cell's side."""


class StillCNN(nn.Module):
    """Frames to a map of features, and of each cell's class.

    Args:
        kinds: of shapes; the first class means none.
    """

    def __init__(self, kinds: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for place, width in enumerate(WIDTHS):
            size = 5 if place == 0 else 3
            stride = 2 if place in (1, 2) else 1
            layers += [nn.Conv2d(channels, width, size, padding=size // 2, stride=stride, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if place == 0 else []
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(channels, 1 + kinds, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits [N, 1 + kinds, H / 8, W / 8] of frames uint8 [N, 3, H, W]."""
        logits: Tensor = self.head(self.cells(frames))
        return logits

    def cells(self, frames: Tensor) -> Tensor:
        """Return features [N, 128, H / 8, W / 8] of frames uint8 [N, 3, H, W]."""
        picture = (frames.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        cells: Tensor = self.body(picture)
        return cells

    def features(self, frames: Tensor) -> Tensor:
        """Return features [N, 128] of frames uint8 [N, 3, H, W]: the largest of all cells."""
        return self.cells(frames).amax((2, 3))
