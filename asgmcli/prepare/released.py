"""VGGish and VGG-19 as AVE's released features were made with: what `--extract` and predictions compute anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from asgmcli.data.manifest import Manifest
from asgmcli.data.windows import Window, read_draws, read_patches, resized
from asgmcli.nn.backbones import MEAN, STD
from asgmcli.nn.state import fit, state_of
from asgmcli.nn.vggish import VGGish
from asgmcli.nn.weights import load_vggish
from asgmcli.prepare.extract import forward

SIZE = 224
FRAMES = tuple(range(0, 16, 2))
"""n of the frames t + n / 16 whose maps are averaged: eight a second."""
HOP = 1.0
MAP = (7, 7, 512)


class VGG19(nn.Module):
    """VGG-19's convolutions: frames uint8 [N, 3, 224, 224] to its last pooling, [N, 7, 7, 512]."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        import torchvision

        self.features: nn.Module = torchvision.models.vgg19(weights=None).features
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Return maps [N, 7, 7, 512]."""
        cells: Tensor = self.features((frames.float() / 255 - self.mean) / self.std)
        return cells.permute(0, 2, 3, 1)


def load_vgg19(path: str | Path | Mapping[str, object]) -> VGG19:
    """Return VGG-19 with the weights of torchvision's or timm's checkpoint.

    Raises:
        DataError: the file cannot be read, or is of another network.
    """
    with torch.device("meta"):
        net = VGG19()
    tensors, source = state_of(path)
    kept = {name: value for name, value in tensors.items() if name.startswith("features.")}
    net = net.to_empty(device="cpu")
    net.mean, net.std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    fit(net, kept, source, may_keep=lambda _: False, resize={})
    return net


class ReleasedNetworks:
    """Both networks, loaded when they are first needed.

    Args:
        vggish: VGGish's weight file.
        vgg19: VGG-19's.
        device: of the networks.
    """

    def __init__(self, vggish: Path, vgg19: Path, device: torch.device) -> None:
        self.files = vggish, vgg19
        self.device = device

    @cached_property
    def audio(self) -> VGGish:
        """Return VGGish."""
        net = VGGish()
        load_vggish(net, self.files[0])
        return net.to(self.device).eval()

    @cached_property
    def visual(self) -> VGG19:
        """Return VGG-19."""
        return load_vgg19(self.files[1]).to(self.device).eval()

    def features(self, manifest: Manifest, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Return float32 audio [n, T, 128] and visual maps [n, T, 7, 7, 512] of a clip's windows.

        Raises:
            MediaError: the file cannot be decoded, or has no sound.
        """
        heard = [forward(self.audio, read_patches(manifest, window, HOP)[:, None], self.device) for window in windows]
        seen = [self._maps(manifest, window) for window in windows]
        return torch.stack(heard), torch.stack(seen)

    def _maps(self, manifest: Manifest, window: Window) -> Tensor:
        total = torch.zeros(window.seconds, *MAP)
        for frames in read_draws(manifest, window, FRAMES, SIZE):
            total += forward(self.visual, resized(frames, SIZE, "squash"), self.device)
        return total / len(FRAMES)
