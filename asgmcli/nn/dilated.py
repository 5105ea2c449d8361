"""Dilated sums: four 3x3 convolutions of one map at growing dilations, added (the atrous head of DeepLab v2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (3, 6, 12, 18)
_START_STD = 0.01


class DilatedSum(nn.Module):
    """Four 3x3 convolutions with dilations 3, 6, 12 and 18, summed; names as AVSBench's `Classifier_Module`.

    Args:
        channels_in: of the input.
        channels: of the sum.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv2d_list = nn.ModuleList(
            nn.Conv2d(channels_in, channels, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )
        for layer in self.conv2d_list:
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, 0.0, _START_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, C, H, W] of [N, C_in, H, W]."""
        total: Tensor | None = None
        for weight, bias, dilation in self._kernels(max(x.shape[-2:])):
            part = F.conv2d(x, weight, bias, padding=dilation, dilation=max(dilation, 1))
            total = part if total is None else total.add_(part)
        assert total is not None
        return total

    def resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the sum of [N, C_in, H, W] resized bilinear to `size`: [N, C, h, w].

        Where both sides shrink by one even factor s, the resize picks the mean of 2x2 pixels at every s-th place. It
        then goes before the convolutions, which run at stride s: the same up to rounding for 1/s² of the work.
        """
        height, width = x.shape[-2:]
        if (height, width) == size:
            whole: Tensor = self(x)
            return whole
        factor = height // size[0]
        if factor % 2 or (factor * size[0], factor * size[1]) != (height, width):
            return F.interpolate(self(x), size, mode="bilinear", align_corners=False)
        return self._strided(x, factor)

    def _strided(self, x: Tensor, factor: int) -> Tensor:
        """Return the sum at every s-th place: the mean of pixels s·i + s/2 - 1 and s·i + s/2 of the plain sum."""
        means = F.avg_pool2d(F.pad(x, (1,) * 4), 2, stride=1)  # of pixels j - 1 and j
        total: Tensor | None = None
        for weight, bias, dilation in self._kernels(max(x.shape[-2:]) + 1 - factor // 2):
            padding = dilation - factor // 2
            inner = means if padding >= 0 else means[..., -padding:padding, -padding:padding]
            part = F.conv2d(inner, weight, bias, factor, max(padding, 0), max(dilation, 1))
            total = part if total is None else total.add_(part)
        assert total is not None
        return total

    def _kernels(self, side: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield weights, biases and dilations of convolutions whose sum on a map of `side` pixels is this one.

        At a dilation of `side` or more all but the middle weights meet padding alone: one 1x1 convolution, of dilation
        0, does the work of all of those.
        """
        middles, biases = [], []
        for layer, dilation in zip(self.conv2d_list, DILATIONS, strict=True):
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            if dilation < side:
                yield layer.weight, layer.bias, dilation
            else:
                middles.append(layer.weight[:, :, 1:2, 1:2])
                biases.append(layer.bias)
        if middles:
            yield torch.stack(middles).sum(0), torch.stack(biases).sum(0), 0
