"""Networks trained for later (two encoders, or a localizer), and linear heads that are thrown away afterwards."""

from __future__ import annotations

import math
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
from asgmcli.synthetic.pretext import ENVELOPES, MOTIONS, SHAPES, TIMBRES
from asgmcli.tasks.pretext.batch import Inputs
from asgmcli.tasks.pretext.data import PretextLoaders
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context
from asgmcli.train.weights import AUDIO_WEIGHTS, BACKBONE_WEIGHTS, LOCALIZER_WEIGHTS, VIDEO_WEIGHTS


@dataclass(frozen=True)
class PretextFeatures:
    """seen [B, D] and patches [B, T, N, D] of the picture (T times of one or more frames), heard [B, E]."""

    seen: Tensor
    patches: Tensor
    heard: Tensor


class Transformers(nn.Module):
    """The recognition network's encoders."""

    def __init__(self, video: TimeSformer, audio: AudioTransformer, dim: int) -> None:
        super().__init__()
        self.video = video
        self.audio = audio
        self.seen_dim = self.heard_dim = dim
        self.grid = video.grid

    def forward(self, inputs: Inputs) -> PretextFeatures:
        """Compute features of video uint8 [B, T, 3, H, W], or its cells `kept` [B, n], and of log-mel [B, L, M]."""
        kept, frames = inputs.kept, inputs.video
        if kept is not None:
            frames = _cells(frames, kept, self.grid)
        # Mean and deviation 0.5, as the recognition network's.
        seen, patches = self.video.encode_all(self.video.embed(frames.transpose(1, 2).float() / 127.5 - 1), kept)
        return PretextFeatures(seen, patches, self.audio(inputs.sound))

    def export(self, folder: Path, recipe: PretextRecipe) -> None:
        """Write the encoders, under the names that the recognition task looks for."""
        metadata = {"format": "asgm-encoder", "recipe": recipe.name}
        write_safetensors(folder / VIDEO_WEIGHTS, self.video.state_dict(), metadata)
        write_safetensors(folder / AUDIO_WEIGHTS, self.audio.state_dict(), metadata)


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
    class meaning none): a small network learns from thousands of patches a batch what it would not from the clips.
    """

    def __init__(self, body: Transformers | Localizer | EventNets) -> None:
        super().__init__()
        self.body = body
        sizes = {"shapes": SHAPES, "motions": MOTIONS, "timbre": TIMBRES, "envelope": ENVELOPES}
        widths = {
            "shapes": body.seen_dim,
            "motions": body.seen_dim,
            "timbre": body.heard_dim,
            "envelope": body.heard_dim,
        }
        self.heads = nn.ModuleDict({name: nn.Linear(widths[name], len(values)) for name, values in sizes.items()})
        self.patch_heads = nn.ModuleDict(
            {name: nn.Linear(body.seen_dim, 1 + len(sizes[name])) for name in ("shapes", "motions")}
        )

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return logits: shapes [B, Ks], motions [B, Km], timbre [B, Kt], envelope [B, Ke], and for every patch seen
        patch_shapes [B, T, N, 1 + Ks], patch_motions [B, T, N, 1 + Km].
        """
        features = self.body(inputs)
        source = {
            "shapes": features.seen,
            "motions": features.seen,
            "timbre": features.heard,
            "envelope": features.heard,
        }
        logits = {name: head(source[name]) for name, head in self.heads.items()}
        return {**logits, **{f"patch_{name}": head(features.patches) for name, head in self.patch_heads.items()}}


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
    if model.video is not None and model.audio is not None:
        seer = build_video_encoder(model.video, recipe.clip, 0)
        body = Transformers(seer, build_audio_encoder(model.audio, recipe.audio, length), model.video.dim)
    elif model.backbones is not None:
        body = EventNets(model.backbones, math.ceil(recipe.clip.size / model.backbones.visual_stride))
    else:
        assert model.localizer is not None  # the recipe has one of the three
        sizes = model.localizer
        side = math.ceil(recipe.clip.size / sizes.stride)
        network = FNAC(sizes.dim, width=sizes.width, stride=sizes.stride)
        body = Localizer(network, recipe.audio.seconds, (side, side))
    return PretextNetwork(body)
