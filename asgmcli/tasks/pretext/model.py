"""Networks trained for later (two encoders, or a localizer), and linear heads that are thrown away afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from asgmcli.data.reader import RATE
from asgmcli.nn.backbones import AUDIO, VISUAL, PatchNet, VisualBackbone
from asgmcli.nn.encoders import build_audio_encoder, build_video_encoder
from asgmcli.nn.localizer import FNAC, IMAGE_MEAN, IMAGE_STD, fnac_spectrogram, save_localizer
from asgmcli.nn.state import write_safetensors
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer
from asgmcli.recipe.events import SeeingNet
from asgmcli.recipe.pretext import BackboneSizes, PretextRecipe
from asgmcli.tasks.pretext.asked import asked_of_hearing, asked_of_sight
from asgmcli.tasks.pretext.batch import Inputs
from asgmcli.tasks.pretext.data import PretextLoaders
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context
from asgmcli.train.weights import AUDIO_WEIGHTS, BACKBONE_WEIGHTS, LOCALIZER_WEIGHTS, VIDEO_WEIGHTS


@dataclass(frozen=True)
class PretextFeatures:
    """seen [B, D] and patches [B, T, N, D] of the picture (T times of one or more frames), heard [B, E]; None for a
    sense that the body lacks. `stem` [B, T, N, D]: what a stem of convolutions alone makes of the picture."""

    seen: Tensor | None
    patches: Tensor | None
    heard: Tensor | None
    stem: Tensor | None = None


class Transformers(nn.Module):
    """The recognition network's encoders, one or both."""

    def __init__(self, video: TimeSformer | None, audio: AudioTransformer | None) -> None:
        super().__init__()
        self.video = video
        self.audio = audio
        self.seen_dim, self.heard_dim = (0 if net is None else net.cls_token.shape[2] for net in (video, audio))
        self.grid = (1, 1) if video is None else video.grid

    @property
    def convolutional(self) -> bool:
        """Return True if the video transformer has a stem of convolutions."""
        return self.video is not None and self.video.patch_embed.overlaps

    def forward(self, inputs: Inputs) -> PretextFeatures:
        """Compute features of video uint8 [B, T, 3, H, W], or its cells `kept` [B, n], and of log-mel [B, L, M]."""
        kept, frames = inputs.kept, inputs.video
        heard = None if self.audio is None else self.audio(inputs.sound)
        if self.video is None:
            return PretextFeatures(None, None, heard)
        if kept is not None:
            frames = _cells(frames, kept, self.grid)
        # Mean and deviation 0.5, as the recognition network's.
        tokens = self.video.embed(frames.transpose(1, 2).float() / 127.5 - 1)
        seen, patches = self.video.encode_all(tokens, kept)
        return PretextFeatures(seen, patches, heard, tokens if self.convolutional else None)

    def export(self, folder: Path, recipe: PretextRecipe) -> None:
        """Write the encoders, under the names that the recognition task looks for."""
        metadata = {"format": "asgm-encoder", "recipe": recipe.name}
        for name, network in ((VIDEO_WEIGHTS, self.video), (AUDIO_WEIGHTS, self.audio)):
            if network is not None:
                write_safetensors(folder / name, network.state_dict(), metadata)


def _cells(frames: Tensor, kept: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the cells `kept` [B, n] of a grid, one below the other: [B, T, 3, n H / rows, W / columns]."""
    rows, columns = grid
    cells: Tensor = (
        frames.unflatten(3, (rows, -1)).unflatten(5, (columns, -1)).permute(0, 3, 5, 1, 2, 4, 6).flatten(1, 2)
    )
    chosen = cells.gather(1, kept.view(*kept.shape, 1, 1, 1, 1).expand(-1, -1, *cells.shape[2:]))
    return chosen.permute(0, 2, 3, 1, 4, 5).flatten(3, 4)


class Localizer(nn.Module):
    """FNAC's two ResNets, before their projections."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: FNAC, seconds: float, grid: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.seconds = seconds
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(3, 1, 1), persistent=False)
        self.seen_dim, self.heard_dim = network.imgnet.out_channels, network.audnet.out_channels
        self.grid = grid

    def forward(self, inputs: Inputs) -> PretextFeatures:
        """Compute features of video uint8 [B, T, 3, H, W] and wave [B, S]."""
        images = inputs.video.float() / 255
        batch_size, frames = images.shape[:2]
        cells = self.network.imgnet((images.flatten(0, 1) - self.mean) / self.std)
        patches = cells.flatten(2).transpose(1, 2).unflatten(0, (batch_size, frames))
        heard = self.network.audnet(fnac_spectrogram(inputs.sound, rate=RATE, seconds=self.seconds)).amax((2, 3))
        return PretextFeatures(patches.amax((1, 2)), patches, heard)

    def export(self, folder: Path, recipe: PretextRecipe) -> None:
        """Write the localizer; its projections are still random."""
        sizes = {"input_size": recipe.clip.size, "seconds": recipe.audio.seconds, "recipe": recipe.name}
        save_localizer(folder / LOCALIZER_WEIGHTS, self.network, sizes)


class EventNets(nn.Module):
    """The two small networks of event localization: one sees a frame, one hears a second."""

    def __init__(self, sizes: BackboneSizes, side: int) -> None:
        super().__init__()
        seen = SeeingNet(kind="resnet18", width=sizes.visual_width, stride=sizes.visual_stride)
        self.visual = VisualBackbone(seen, frozen_norm=False, maps=True)
        self.audio = PatchNet(sizes.audio_width, sizes.audio_stride, frozen_norm=False)
        self.seen_dim, self.heard_dim = self.visual.dim, self.audio.dim
        self.grid = (side, side)

    def forward(self, inputs: Inputs) -> PretextFeatures:
        """Compute features of video uint8 [B, T, 3, H, W] and log-mel patches [B, 96, 64]."""
        batch_size, frames = inputs.video.shape[:2]
        cells = self.visual(inputs.video.flatten(0, 1))
        patches = cells.flatten(2).transpose(1, 2).unflatten(0, (batch_size, frames))
        return PretextFeatures(patches.amax((1, 2)), patches, self.audio(inputs.sound[:, None]))

    def export(self, folder: Path, recipe: PretextRecipe) -> None:
        """Write both networks into one file."""
        parts = ((VISUAL, self.visual.body), (AUDIO, self.audio.body))
        tensors = {f"{prefix}{name}": value for prefix, net in parts for name, value in net.state_dict().items()}
        about = {"format": "asgm-backbones", "recipe": recipe.name}
        write_safetensors(folder / BACKBONE_WEIGHTS, tensors, about)


class PretextNetwork(nn.Module):
    """Frames and sound to shapes, motions, timbre and envelope, by linear heads on a body that is kept.

    Shapes and motions are asked of the whole (which are there at all) and of every patch (which is here, the first
    class meaning none): a small network learns from thousands of patches a batch what it would not from the clips. A
    stem of convolutions is asked for the shapes too, cell by cell.

    Args:
        body: what is kept.
        seen: number of answers to what is asked of the picture, by name.
        heard: number of answers to what is asked of the sound, by name.
    """

    def __init__(
        self, body: Transformers | Localizer | EventNets, seen: Mapping[str, int], heard: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.body = body
        self.seen = tuple(seen)
        heads = {name: nn.Linear(body.seen_dim, count) for name, count in seen.items()}
        heads |= {name: nn.Linear(body.heard_dim, count) for name, count in heard.items()}
        self.heads = nn.ModuleDict(heads)
        self.patch_heads = nn.ModuleDict({name: nn.Linear(body.seen_dim, 1 + count) for name, count in seen.items()})
        asks_stem = isinstance(body, Transformers) and body.convolutional
        self.stem_head = nn.Linear(body.seen_dim, 1 + seen["shapes"]) if asks_stem else None

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return logits of what is asked: shapes [B, Ks], motions [B, Km], timbre [B, Kt], envelope [B, Ke], for every
        patch seen patch_shapes [B, T, N, 1 + Ks], patch_motions [B, T, N, 1 + Km], and likewise stem_shapes.
        """
        features = self.body(inputs)
        logits = {
            name: head(features.seen if name in self.seen else features.heard) for name, head in self.heads.items()
        }
        logits |= {f"patch_{name}": head(features.patches) for name, head in self.patch_heads.items()}
        return logits if self.stem_head is None else {**logits, "stem_shapes": self.stem_head(features.stem)}


@dataclass
class PretextState(SingleNetwork):
    """The network in training."""

    recipe: PretextRecipe
    network: PretextNetwork
    device: torch.device

    def export(self, folder: Path) -> None:
        """Write what is kept of the network."""
        self.network.body.export(folder, self.recipe)


def build_state(recipe: PretextRecipe, data: PretextLoaders, context: Context) -> PretextState:
    """Build the network with random weights: a pretext has no start."""
    return PretextState(recipe, build_network(recipe, data.length).to(context.device), context.device)


def build_network(recipe: PretextRecipe, length: int) -> PretextNetwork:
    """Build the network that `recipe` describes, with random weights; `length` is L of the log-mel."""
    model = recipe.model
    body: Transformers | Localizer | EventNets
    if model.encodes:
        seer = None if model.video is None else build_video_encoder(model.video, recipe.still, 0)
        hearer = None if model.audio is None else build_audio_encoder(model.audio, recipe.audio, length)
        body = Transformers(seer, hearer)
    elif model.backbones is not None:
        body = EventNets(model.backbones, math.ceil(recipe.clip.size / model.backbones.visual_stride))
    else:
        assert model.localizer is not None  # the recipe has one of these
        sizes = model.localizer
        side = math.ceil(recipe.clip.size / sizes.stride)
        network = FNAC(sizes.dim, width=sizes.width, stride=sizes.stride)
        body = Localizer(network, recipe.audio.seconds, (side, side))
    return PretextNetwork(body, asked_of_sight(recipe), asked_of_hearing(recipe))
