"""The frozen networks that LLP's features were made with: ResNet-152, R(2+1)D-18 and VGGish, by weight files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.features import hash_file
from asgmcli.errors import DataError, UsageError
from asgmcli.media.seconds import SECONDS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FRAMES_A_SECOND = 8
RESIZED, CROPPED, SQUASHED = 256, 224, 112
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOTION_MEAN, MOTION_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
RATE = 16_000


@dataclass(frozen=True)
class Source:
    """A weight file: its usual name, and where it comes from."""

    file: str
    page: str
    fetched: bool


NETWORKS = {
    "resnet152": Source(
        "resnet152-394f9c45.pth", "https://download.pytorch.org/models/resnet152-394f9c45.pth", fetched=True
    ),
    "r2plus1d_18": Source(
        "r2plus1d_18-91a641e6.pth", "https://download.pytorch.org/models/r2plus1d_18-91a641e6.pth", fetched=True
    ),
    "vggish": Source(
        "vggish-10086976.pth", "https://github.com/harritaylor/torchvggish (releases, v0.1)", fetched=False
    ),
}
"""By the names that --weights takes."""


def weight_options(texts: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of `NAME=FILE` strings.

    Raises:
        UsageError: another name, or no such form.
        DataError: a file is not there.
    """
    files = {}
    for text in texts:
        name, found, path = text.partition("=")
        if not found or name not in NETWORKS:
            raise UsageError(f"--weights {text}: write it as NAME=FILE, with a name of {', '.join(NETWORKS)}.")
        files[name] = _there(name, Path(path))
    return files


def _there(name: str, path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: no such weight file of {name}.")
    return path


def find_weights(name: str, files: Mapping[str, Path], folder: Path = Path("weights")) -> Path:
    """Return a network's weight file: the user's, that in `folder`, or what torchvision fetches.

    Raises:
        DataError: it is nowhere; the message names file, source and place.
    """
    source = NETWORKS[name]
    if name in files:
        return _there(name, files[name])
    if (folder / source.file).is_file():
        return folder / source.file
    place = folder / source.file
    how = f"Bring {source.file} from {source.page} and put it at {place}, or name it: --weights {name}=FILE"
    if not source.fetched:
        raise DataError(f"The weights of {name} are not here. {how}")
    import torch

    place = Path(torch.hub.get_dir()) / "checkpoints" / source.file
    if not place.is_file():
        try:
            torch.hub.load_state_dict_from_url(source.page, map_location="cpu", weights_only=True)
        except Exception as error:  # urllib's, and whatever else a network has
            raise DataError(f"The weights of {name} could not be fetched ({error}). {how}") from None
    return place


@dataclass(frozen=True)
class ParsingNetworks:
    """The three networks, frozen.

    Attributes:
        image: frames [N, 3, 224, 224] -> [N, 2048].
        motion: seconds [N, 3, 8, 112, 112] -> [N, 512].
        sound: patches [N, 1, 96, 64] -> [N, 128].
        device: where they compute.
        hashes: SHA-256 of the weight files, by name.
    """

    image: nn.Module
    motion: nn.Module
    sound: nn.Module
    device: torch.device
    hashes: Mapping[str, str]

    frames_a_second = FRAMES_A_SECOND
    short_side = RESIZED

    def of_picture(self, frames: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return image [10, 2048], the mean of each second's frames, and motion [10, 512] of uint8 [80, H, W, 3]."""
        import torch
        from torchvision.transforms import functional as F

        picture = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            still = F.center_crop(F.resize(picture, [RESIZED], antialias=True), [CROPPED, CROPPED])
            still = F.normalize(still.float() / 255, list(IMAGE_MEAN), list(IMAGE_STD))
            image = torch.cat([self._through(self.image, part) for part in still.split(SECONDS * 2)])
            small = F.normalize(
                F.resize(picture, [SQUASHED, SQUASHED], antialias=True).float() / 255,
                list(MOTION_MEAN),
                list(MOTION_STD),
            )
            seconds = small.unflatten(0, (SECONDS, FRAMES_A_SECOND)).transpose(1, 2)
            return image.unflatten(0, (SECONDS, -1)).mean(1), self._through(self.motion, seconds)

    def of_sound(self, wave: NDArray[np.float32]) -> Tensor:
        """Return VGGish [10, 128] of a window's wave [160000]: one patch from each whole second."""
        import torch

        from asgmcli.media.vggish_mel import vggish_patches

        with torch.inference_mode():
            return self._through(self.sound, vggish_patches(wave, hop=RATE)[:, None])

    def _through(self, network: nn.Module, inputs: Tensor) -> Tensor:
        import torch

        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            found: Tensor = network(inputs.to(self.device))
        return found.float().cpu()


def load_networks(files: Mapping[str, Path], device: torch.device | None = None) -> ParsingNetworks:
    """Load the three networks.

    Raises:
        DataError: a file is missing, or of another network.
    """
    import torch

    where = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    paths = {name: find_weights(name, files) for name in NETWORKS}
    networks = {name: _load(name, path).to(where).eval().requires_grad_(False) for name, path in paths.items()}
    hashes = {name: hash_file(path) for name, path in paths.items()}
    return ParsingNetworks(networks["resnet152"], networks["r2plus1d_18"], networks["vggish"], where, hashes)


def build(name: str) -> nn.Module:
    """Return a network without weights, its last layer as the files have it."""
    if name == "vggish":
        from asgmcli.nn.vggish import VGGish

        return VGGish()
    from torchvision import models

    network: nn.Module = models.resnet152() if name == "resnet152" else models.video.r2plus1d_18()
    return network


def _load(name: str, path: Path) -> nn.Module:
    from torch import nn

    from asgmcli.nn.state import fit, state_of
    from asgmcli.nn.vggish import VGGish, load_vggish

    network = build(name)
    if isinstance(network, VGGish):
        load_vggish(network, path)
        return network
    tensors, source = state_of(path)
    fit(network, tensors, source, may_keep=lambda key: key.endswith("num_batches_tracked"), resize={})
    network.fc = nn.Identity()
    return network
