"""The networks that see a frame and hear a second, as recipes of event localization name them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.nn.resnet import ResNet18
from asgmcli.nn.state import LoadReport, fit, state_of
from asgmcli.nn.vggish import VGGish
from asgmcli.nn.weights import load_vggish, timm_state
from asgmcli.recipe.events import AudioNet, FrameInput, SeeingNet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures: red, green and blue in 0..1."""
RESNET50_WIDTH = 2048
VISUAL, AUDIO = "visual.", "audio."
"""Prefixes of both networks in one weight file."""


class VisualBackbone(nn.Module):
    """Frames to features: a ResNet, normalised as ImageNet's pictures are.

    Args:
        settings: of the recipe.
        frozen_norm: keep the statistics of its batch norms, in training too.
        maps: return the map of its last stage in place of the mean (resnet50) or maximum (resnet18) of its cells.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: SeeingNet, *, frozen_norm: bool = True, maps: bool = False) -> None:
        super().__init__()
        self.frozen_norm, self.maps = frozen_norm, maps
        self.body: nn.Module
        if settings.kind == "resnet50":
            import timm  # half a second to import, and needed only here

            self.body = timm.create_model("resnet50", pretrained=False, num_classes=0, global_pool="")
            self.dim = RESNET50_WIDTH
        else:
            self.body = ResNet18(3, settings.width, settings.stride)
            self.dim = self.body.out_channels
        self.strongest = settings.kind == "resnet18"
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.train()  # a module is in training mode as it is built, its norms too

    def forward(self, frames: Tensor) -> Tensor:
        """Return [N, dim], or maps [N, dim, h, w], of frames uint8, or float in 0..1, [N, 3, H, W]."""
        pictures = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        cells: Tensor = self.body((pictures - self.mean) / self.std)
        if self.maps:
            return cells
        return cells.amax((2, 3)) if self.strongest else cells.mean((2, 3))

    def train(self, mode: bool = True) -> VisualBackbone:
        """Set the mode; norms that are frozen stay in theirs of evaluation."""
        super().train(mode)
        if self.frozen_norm:
            _freeze_norms(self)
        return self


def _freeze_norms(net: nn.Module) -> None:
    """Set the batch norms of `net` to their mode of evaluation."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


class PatchNet(nn.Module):
    """A ResNet-18 over log-mel patches: the strongest answer of each of its channels.

    Args:
        width: channels of its first stage.
        stride: cells of a patch that a cell of its last map spans.
        frozen_norm: keep the statistics of its batch norms, in training too.
    """

    def __init__(self, width: int, stride: int, *, frozen_norm: bool = True) -> None:
        super().__init__()
        self.frozen_norm = frozen_norm
        self.body = ResNet18(1, width, stride)
        self.dim = self.body.out_channels
        self.train()

    def forward(self, patches: Tensor) -> Tensor:
        """Return [N, 8 * width] of patches [N, 1, 96, 64]."""
        return cast(Tensor, self.body((patches + 3.0) / 3.0).amax((2, 3)))  # log-mels lie about -4.6 to 2

    def train(self, mode: bool = True) -> PatchNet:
        """Set the mode; norms that are frozen stay in theirs of evaluation."""
        super().train(mode)
        if self.frozen_norm:
            _freeze_norms(self)
        return self


def build_audio(settings: AudioNet) -> VGGish | PatchNet:
    """Return the network that hears a second, with random weights; `dim` is the width of its features."""
    if settings.kind == "vggish":
        return VGGish(settings.width, settings.hidden, settings.dim, last_relu=settings.last_relu)
    return PatchNet(settings.width, settings.stride)


def audio_dim(settings: AudioNet) -> int:
    """Return the width of the features of a second's sound."""
    return settings.dim if settings.kind == "vggish" else 8 * settings.width


def visual_dim(settings: SeeingNet) -> int:
    """Return the width of the features of a frame, before what is trained behind them."""
    return RESNET50_WIDTH if settings.kind == "resnet50" else 8 * settings.width


def map_side(settings: SeeingNet, frames: FrameInput) -> int:
    """Return the cells of a side of the map of a frame."""
    return math.ceil(frames.size / (32 if settings.kind == "resnet50" else settings.stride))


def load_visual(net: VisualBackbone, source: str | Path, *, timm: bool = False) -> LoadReport:
    """Load the weights of a ResNet into the body of `net`.

    Args:
        net: to be loaded.
        source: a file of torchvision's or timm's names, or of a pretext's networks; with `timm` a name of timm's.
        timm: fetch the weights by name.

    Raises:
        DataError: the file cannot be read, is of another network, or does not fit; or timm cannot fetch it.
    """
    tensors, name = _state(source, timm)
    kept = {key: value for key, value in _part(tensors, VISUAL).items() if not key.startswith("fc.")}
    return fit(net.body, kept, name, may_keep=lambda key: key.endswith("num_batches_tracked"), resize={})


def load_audio(net: VGGish | PatchNet, source: str | Path, *, timm: bool = False) -> LoadReport:
    """Load VGGish's released weights, or those of a pretext's network.

    Raises:
        DataError: the file cannot be read, is of another network, or does not fit; or `timm`, which has no such ones.
    """
    if timm:
        raise DataError(f"{source}: timm has no network for sound; bring VGGish's weights as a file (init.file).")
    if isinstance(net, VGGish):
        return load_vggish(net, source)
    tensors, name = _state(source, False)
    kept = _part(tensors, AUDIO)
    return fit(net.body, kept, name, may_keep=lambda key: key.endswith("num_batches_tracked"), resize={})


def _state(source: str | Path, timm: bool) -> tuple[dict[str, Tensor], str]:
    if timm:
        tensors, _ = state_of(timm_state(str(source)))
        return tensors, f"timm's {source}"
    return state_of(source)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors of one of both networks in a file; all where the file holds one alone."""
    mine = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return mine or tensors


class Reduced(nn.Module):
    """A visual backbone, and what is trained behind it: a linear layer, or a convolution of 1x1 on its maps.

    Args:
        body: of the pictures.
        dim: width after the reduction; None leaves the features as they are.
    """

    def __init__(self, body: VisualBackbone, dim: int | None) -> None:
        super().__init__()
        self.body = body
        self.dim = body.dim if dim is None else dim
        self.reduce: nn.Module = nn.Identity()
        if dim is not None:
            self.reduce = nn.Conv2d(body.dim, dim, 1) if body.maps else nn.Linear(body.dim, dim)

    def forward(self, frames: Tensor) -> Tensor:
        """Return [N, dim], or maps [N, dim, h, w], of frames [N, 3, H, W]."""
        reduced: Tensor = self.reduce(self.body(frames))
        return reduced
