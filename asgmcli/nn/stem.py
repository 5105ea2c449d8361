"""A convolutional stem: a small network sees what a patch embedding of its size does not (T. Xiao et al., "Early
Convolutions Help Transformers See Better", NeurIPS 2021)."""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (16, 32, 32, 64, 64)
STRIDES = (2, 2, 1, 2, 1)
CELL = 8
"""Pixels of a cell's side, the product of the strides."""


class ConvolutionStem(nn.Module):
    """Frames to tokens of 8 x 8 pixels: five 3x3 convolutions with batch norm, then one of 1x1 to D.

    What neighbouring tokens see overlaps, so that clips are mixed before it, patch of pixels by patch of pixels.

    Args:
        dim: D.
        channels: of the frames.
    """

    overlaps = True
    tubelet = 1
    patch_size = CELL

    def __init__(self, dim: int, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, stride in zip(WIDTHS, STRIDES, strict=True):
            layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers)
        self.expand = nn.Conv2d(channels, dim, kernel_size=1)

    def forward(self, video: Tensor) -> Tensor:
        """Embed [B, C, T, H, W] as tokens [T, B, N, D], as `PatchEmbed` does.

        Raises:
            ValueError: H or W is no multiple of 8.
        """
        batch, _, times, height, width = video.shape
        if height % CELL or width % CELL:
            raise ValueError(f"cells of {CELL} pixels do not divide the image of {height}x{width} pixels")
        cells: Tensor = self.expand(self.body(video.transpose(1, 2).flatten(0, 1)))
        tokens: Tensor = cells.flatten(2).transpose(1, 2).unflatten(0, (batch, times)).transpose(0, 1)
        return tokens
