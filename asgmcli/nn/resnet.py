"""ResNet-18 (He et al., 2016) without its classifier, with torchvision's parameter names, at any width and stride."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StridedConv(nn.Conv2d):
    """A convolution of stride 2 whose result may be one column wide."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution: [B, C_in, H, W] -> [B, C, H / 2, W / 2], rounded up."""
        columns = x.shape[-1]
        # Where one column is left, oneDNN's bfloat16 kernel for AMX reads what nobody wrote: NaN, or wrong numbers
        # (torch 2.14). With zeros at the right, two are left and right; the second is not asked for.
        if columns < 3 and x.device.type == "cpu" and (x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")):
            return super().forward(F.pad(x, (0, 3 - columns)))[..., :1]
        return super().forward(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        strided = StridedConv if stride == 2 else nn.Conv2d
        self.conv1 = strided(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels))
            if channels_in != channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: [B, C_in, H, W] -> [B, C, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        # In place: nothing else reads the norm's result, forward or backward.
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(branch.add_(shortcut), inplace=True)


class ResNet18(nn.Module):
    """The convolutional part of ResNet-18: [B, channels, H, W] -> [B, 8 * width, H / stride, W / stride].

    Args:
        channels: of the input.
        width: channels of the first stage, 64 in the paper.
        stride: 32 in the paper; 16 and 8 leave out the downsampling of the last one and two stages.
        layers: of the four stages, how many there are; the others are not built.
    """

    def __init__(self, channels: int, width: int = 64, stride: int = 32, layers: int = 4) -> None:
        super().__init__()
        if stride not in (8, 16, 32):
            raise ValueError(f"stride is 8, 16 or 32, not {stride}")
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        strides = (1, 2, 2 if stride >= 16 else 1, 2 if stride >= 32 else 1)
        self.stage_channels = tuple(width << number for number in range(layers))
        before = (width, *self.stage_channels)
        for number, (channels_in, channels_out) in enumerate(zip(before, self.stage_channels, strict=False)):
            self.add_module(f"layer{number + 1}", self._stage(channels_in, channels_out, strides[number]))
        self.out_channels = self.stage_channels[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(channels_in: int, channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(BasicBlock(channels_in, channels, stride), BasicBlock(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return features [B, 8 * width, H / stride, W / stride], rounded up, of [B, channels, H, W]."""
        return self.stages(x)[-1]

    def stages(self, x: Tensor) -> list[Tensor]:
        """Return the maps after each stage: [B, width * 2^i, h_i, w_i], at strides 4, 8, 16, 32 in the paper."""
        # Not in training: this order makes several ranks differ from one process.
        if x.device.type == "cpu" and not self.training:
            x = _channels_last(x)
        # The paper's order is ReLU, then pool: the same maximum, computed on a quarter of the numbers.
        x = F.relu(F.max_pool2d(self.bn1(self.conv1(x)), 3, stride=2, padding=1), inplace=True)
        maps = []
        for number in range(len(self.stage_channels)):
            x = self.get_submodule(f"layer{number + 1}")(x)
            maps.append(x)
        return maps


def _channels_last(x: Tensor) -> Tensor:
    """Return `x` [B, C, H, W] with its channels innermost, which processors' convolutions and max pools want.

    A copy: with a single channel both orders look alike, so the strides must say which one it is.
    """
    return torch.empty_like(x, memory_format=torch.channels_last).copy_(x)


def lay_channels_last(module: nn.Module) -> None:
    """Order the convolutions' weights channels last, in place. Only the speed changes."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
