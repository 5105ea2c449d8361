"""TPAVI: temporal pixel-wise audio-visual interaction, and the segmentation network around it.

J. Zhou et al., "Audio-Visual Segmentation", ECCV 2022; with the flow branch of UFE. Parameter names are those of the
released `Pred_endecoder`, without the parts that it never uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asgmcli.nn.dilated import DilatedSum
from asgmcli.nn.flow_encoder import FlowBranch
from asgmcli.nn.stages import build_backbone, stage_channels, stage_maps


@dataclass(frozen=True)
class Segmented:
    """A segmentation network's result.

    Attributes:
        logits: [B, T, H, W], one a pixel.
        maps: what the losses compare with the sound: [B, T, C, h, w] each, a stage each.
        audio: the sound as each of these stages has it, [B, T, C] each; empty where no stage has one.
    """

    logits: Tensor
    maps: list[Tensor]
    audio: list[Tensor]


class TPAVI(nn.Module):
    """Non-local interaction of a clip's pixels with its sound, without softmax.

    Args:
        channels: C, of the visual map.
        audio_dim: A, of the sound's embedding.
    """

    def __init__(self, channels: int, audio_dim: int = 128) -> None:
        super().__init__()
        inner = channels // 2
        self.align_channel = nn.Linear(audio_dim, channels)
        self.norm_layer = nn.LayerNorm(channels)
        self.g = nn.Conv3d(channels, inner, 1)
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        norm = nn.BatchNorm3d(channels)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        self.W_z = nn.Sequential(nn.Conv3d(inner, channels, 1), norm)

    def forward(self, x: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Return z [B, C, T, h, w] and the sound at the map's width [B, T, C].

        The pairwise matrix f = θ(x) φ(a)ᵀ / M, M = T·h·w, is never built: y = θ(x) (Σₜ φₜ ⊗ Σ_hw gₜ) / M is the same
        and linear in the pixels, and so is W_z(y): a matrix [C, C] a clip and a constant.

        Args:
            x: [B, C, T, h, w].
            audio: [B, T, A].
        """
        aligned: Tensor = self.align_channel(audio)
        pixels = x.movedim(1, -1)
        shape = pixels.shape[1:4]
        count = shape[1] * shape[2]
        values = F.linear(pixels.sum(dim=(2, 3)), _matrix(self.g), count * _bias(self.g))
        keys = F.linear(aligned, _matrix(self.phi), _bias(self.phi))
        last = self.W_z[0]
        pairs = _matrix(last) @ (values.transpose(1, 2) @ keys) / (shape[0] * count)
        change = torch.baddbmm(
            (pairs @ _bias(self.theta) + _bias(last))[:, None],
            pixels.flatten(1, 3),
            (pairs @ _matrix(self.theta)).transpose(1, 2),
        )
        z = self.W_z[1](change.unflatten(1, shape).movedim(-1, 1)).movedim(1, -1) + pixels
        return self.norm_layer(z).movedim(-1, 1), aligned


def _matrix(layer: nn.Module) -> Tensor:
    """Return the weights [C_out, C_in] of a 1x1x1 convolution."""
    assert isinstance(layer, nn.Conv3d)
    return layer.weight.flatten(1)


def _bias(layer: nn.Module) -> Tensor:
    """Return the bias [C_out] of a convolution."""
    assert isinstance(layer, nn.Conv3d)
    assert layer.bias is not None
    return layer.bias


class ResidualUnit(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, plus the first ReLU's result (the released skip adds relu(x), not x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, C, h, w] of the same shape."""
        x = F.relu(x)
        change: Tensor = self.conv2(F.relu(self.conv1(x)))
        return change + x


class FusionBlock(nn.Module):
    """A step of the feature pyramid: the coarser map plus a stage's, twice as large.

    Args:
        channels: C.
        joins: a stage is added; the coarsest step has none.
    """

    def __init__(self, channels: int, joins: bool = True) -> None:
        super().__init__()
        if joins:
            self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)

    def forward(self, coarse: Tensor, stage: Tensor | None = None) -> Tensor:
        """Return [N, C, 2h, 2w] of `coarse` [N, C, h, w] and `stage` of the same shape."""
        x = coarse if stage is None else coarse + self.resConfUnit1(stage)
        return F.interpolate(self.resConfUnit2(x), scale_factor=2, mode="bilinear", align_corners=True)


class TPAVINetwork(FlowBranch):
    """Image, sound and flow to a mask: backbone, dilated sums, flow, TPAVI on every stage, feature pyramid.

    Args:
        backbone: see `nn.stages.BACKBONES`; its weights stand under `resnet` or `encoder_backbone`.
        flow: how flow is read, see `FlowBranch`.
        channels: C.
        audio_dim: A.
        width: of the first stage of backbone resnet18, and of the flow's ResNet-18.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        flow: Literal["none", "stem", "pyramid"] = "none",
        channels: int = 256,
        audio_dim: int = 128,
        width: int = 64,
    ) -> None:
        super().__init__(flow, channels, width)
        self.backbone_name = "resnet" if backbone.startswith("resnet") else "encoder_backbone"
        self.add_module(self.backbone_name, build_backbone(backbone, width))
        for number, channels_in in enumerate(stage_channels(backbone, width)):
            self.add_module(f"conv{number + 1}", DilatedSum(channels_in, channels))
            self.add_module(f"tpavi_b{number + 1}", TPAVI(channels, audio_dim))
            self.add_module(f"path{number + 1}", FusionBlock(channels, joins=number < 3))
        self.output_conv = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(channels // 2, max(channels // 8, 8), 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(max(channels // 8, 8), 1, 1),
        )

    @property
    def backbone(self) -> nn.Module:
        """Return the image network."""
        return self.get_submodule(self.backbone_name)

    def forward(self, image: Tensor, audio: Tensor, flow: Tensor | None = None) -> Segmented:
        """Segment every frame.

        Args:
            image: [B, T, 3, H, W], normalised; H and W multiples of 32.
            audio: [B, T, A].
            flow: [B, T, 2, H, W] in 0..1; None where the network reads none.

        Raises:
            ValueError: the network reads flow and there is none.
        """
        batch, frames = image.shape[:2]
        stages = stage_maps(self.backbone, image.flatten(0, 1))
        maps = [self.get_submodule(f"conv{number + 1}")(stage) for number, stage in enumerate(stages)]
        maps = self.join_flow(maps, None if flow is None else flow.flatten(0, 1))
        heard = []
        for number, x in enumerate(maps):
            clip = x.unflatten(0, (batch, frames)).transpose(1, 2)
            z, aligned = self.get_submodule(f"tpavi_b{number + 1}")(clip, audio)
            maps[number] = F.relu(z.transpose(1, 2).flatten(0, 1))
            heard.append(aligned)
        logits = self.output_conv(self._pyramid(maps))[:, 0]
        return Segmented(logits.unflatten(0, (batch, frames)), [x.unflatten(0, (batch, frames)) for x in maps], heard)

    def _pyramid(self, maps: Sequence[Tensor]) -> Tensor:
        x: Tensor = self.get_submodule("path4")(maps[3])
        for number in (3, 2, 1):
            x = self.get_submodule(f"path{number}")(x, maps[number - 1])
        return x
