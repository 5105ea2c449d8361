"""Image backbones by name, and the four maps after their stages. None is written here, none is downloaded."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from asgmcli.nn.resnet import ResNet18

BACKBONES: dict[str, tuple[int, ...]] = {
    "resnet18": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "pvt_v2_b5": (64, 128, 320, 512),
}
"""Channels of the four stages, at strides 4, 8, 16, 32."""
_DROP_PATH = 0.1  # of the released PVT


def stage_channels(name: str, width: int = 64) -> tuple[int, ...]:
    """Return the channels of a backbone's four stages; `width` is the first stage's of `resnet18`.

    Raises:
        ValueError: no backbone of this name.
    """
    if name not in BACKBONES:
        raise ValueError(f"no backbone {name!r}; there are {', '.join(BACKBONES)}")
    return tuple(width << number for number in range(4)) if name == "resnet18" else BACKBONES[name]


def build_backbone(name: str, width: int = 64) -> nn.Module:
    """Build a backbone with random weights and without its classifier.

    `resnet50` is torchvision's, `pvt_v2_b5` timm's; `resnet18` is this package's, of any `width`.

    Raises:
        ValueError: no backbone of this name.
    """
    stage_channels(name)
    if name == "resnet18":
        return ResNet18(3, width)
    if name == "resnet50":
        from torchvision.models import resnet50

        network: nn.Module = resnet50(weights=None)
        network.fc = nn.Identity()
        return network
    import timm

    transformer: nn.Module = timm.create_model(name, pretrained=False, drop_path_rate=_DROP_PATH, num_classes=0)
    return transformer


def stage_maps(backbone: nn.Module, image: Tensor) -> list[Tensor]:
    """Return the four maps [N, c_i, H / 2^(i+2), W / 2^(i+2)] of a backbone for images [N, 3, H, W]."""
    if isinstance(backbone, ResNet18):
        return backbone.stages(image)
    part = backbone.get_submodule
    maps: list[Tensor] = []
    if hasattr(backbone, "layer4"):
        if image.device.type == "cpu" and not backbone.training:  # a twelfth less time, and the same numbers
            image = image.contiguous(memory_format=torch.channels_last)
        x = part("maxpool")(part("relu")(part("bn1")(part("conv1")(image))))
        for number in range(1, 5):
            x = part(f"layer{number}")(x)
            maps.append(x)
        return maps
    x = part("patch_embed")(image)
    for stage in cast(nn.Sequential, part("stages")):
        x = stage(x)
        maps.append(x)
    return maps
