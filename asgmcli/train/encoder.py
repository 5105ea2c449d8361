"""AV-BT's encoder as a run leaves it: built, written, read, and asked about the windows of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from asgmcli.data.frame_cache import FrameReader
from asgmcli.data.manifest import Manifest
from asgmcli.data.windows import Window, centre, read_patches
from asgmcli.errors import DataError
from asgmcli.nn.agva import AGVA
from asgmcli.nn.avbt import AudioVisualEncoder
from asgmcli.nn.backbones import Reduced, VisualBackbone, build_audio, map_side
from asgmcli.nn.state import fit, read_metadata, read_state, write_safetensors
from asgmcli.prepare.extract import draws_of
from asgmcli.recipe.event_representation import EventRepresentationRecipe
from asgmcli.train.weights import ENCODER_FORMAT, described, stored_recipe


def build_encoder(recipe: EventRepresentationRecipe) -> AudioVisualEncoder:
    """Return the encoder that a recipe describes, with random weights."""
    attends = recipe.attention == "agva"
    body = VisualBackbone(recipe.visual, frozen_norm=recipe.visual.norm == "frozen", maps=attends)
    visual, audio = Reduced(body, recipe.visual.reduce), build_audio(recipe.audio)
    attention = AGVA(audio.dim, visual.dim, cells=map_side(recipe.visual, recipe.frames) ** 2) if attends else None
    return AudioVisualEncoder(visual, audio, recipe.hidden, visual.dim, audio.dim, attention)


def save_encoder(path: Path, encoder: AudioVisualEncoder, recipe: EventRepresentationRecipe) -> None:
    """Write the encoder with the recipe that says how its inputs are made."""
    about = {"format": ENCODER_FORMAT, "recipe": recipe.model_dump_json(exclude={"rows", "compare", "figure"})}
    write_safetensors(path, encoder.state_dict(), about)


@dataclass(frozen=True)
class Encoder:
    """A finished encoder, and the recipe that says how its inputs are made."""

    network: AudioVisualEncoder
    recipe: EventRepresentationRecipe
    device: torch.device

    @property
    def dim(self) -> int:
        """Return the width of its features."""
        return 2 * self.recipe.hidden

    @torch.no_grad()
    def encode(self, manifest: Manifest, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Return f_a and f_v, float32 [n, T, d] each, of windows read from their files.

        Raises:
            MediaError: a file cannot be decoded, or has no sound.
        """
        found = [self._of(*self.read(manifest, window)) for window in windows]
        return torch.cat([audio for audio, _ in found]), torch.cat([visual for _, visual in found])

    def read(self, manifest: Manifest, window: Window) -> tuple[Tensor, Tensor]:
        """Return frames uint8 [draws, T, 3, S, S] and patches [T, 1, 96, 64] of a window.

        Raises:
            MediaError: the file cannot be decoded, or has no sound.
        """
        reader, size = FrameReader(manifest, self.recipe.frames), self.recipe.frames.size
        draws = draws_of(self.recipe.features.draws)
        frames = centre(reader.read_draws(window, draws), size)
        return frames, read_patches(manifest, window, self.recipe.audio.hop)[:, None]

    def _of(self, frames: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        self.network.eval()
        return encode(self.network, frames[None].to(self.device), patches[None].to(self.device))


def encode(network: AudioVisualEncoder, frames: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return f_a and f_v [B, T, d] on the CPU of frames [B, draws, T, 3, S, S], averaged over draws, and patches
    [B, T, 1, 96, 64].
    """
    visual = torch.stack([network.visual_features(part) for part in frames.unbind(1)]).mean(0)
    f_a, f_v = network.temporal(network.audio_features(patches), visual)
    return f_a.float().cpu(), f_v.float().cpu()


def is_encoder(path: Path) -> bool:
    """Return True for the encoder of an event_representation run."""
    return read_metadata(path).get("format") == ENCODER_FORMAT


def load_encoder(path: Path, device: torch.device) -> Encoder:
    """Load the encoder that a run of event_representation left.

    Raises:
        DataError: the file is missing, broken, or of another kind.
    """
    about = read_metadata(path)
    if about.get("format") != ENCODER_FORMAT:
        raise DataError(f"{path}: not the encoder of an event_representation run. Name one by features.recipe.")
    with described(path):
        recipe = stored_recipe(about, path, EventRepresentationRecipe)
    network = build_encoder(recipe)
    fit(network, read_state(path), str(path), may_keep=lambda _: False, resize={})
    return Encoder(network.to(device).eval(), recipe, device)
