"""FNAC as it is trained, and as it is kept for others to be guided by."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asgmcli.data.loader import Batch
from asgmcli.nn.localizer import FNAC, FrozenLocalizer, load_fnac, save_localizer
from asgmcli.nn.resnet import lay_channels_last
from asgmcli.nn.weights import load_timm
from asgmcli.settings import LocalizationRecipe
from asgmcli.tasks.localization.data import LocalizationData
from asgmcli.train.global_norm import share_norms
from asgmcli.train.loop import Context

WEIGHTS = "localizer.safetensors"


@dataclass
class LocalizationState:
    """The network in training, and the same weights as a frozen localizer for the preparation of its inputs."""

    recipe: LocalizationRecipe
    network: FNAC
    frozen: FrozenLocalizer
    device: torch.device
    epoch: int = 0
    step: int = 0
    features: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def trained(self) -> list[nn.Module]:
        """Both ResNets and their projections, or the projections alone."""
        if self.recipe.model.frozen_trunks:
            return [self.network.img_proj, self.network.aud_proj]  # the norms before them have no weights
        return [self.network]

    def begin_step(self, epoch: int, step: int) -> None:
        """Note the epoch, which decides the terms of the loss."""
        self.epoch, self.step = epoch, step
        self.network.train()
        if self.recipe.model.frozen_trunks:
            self.network.imgnet.requires_grad_(False).eval()
            self.network.audnet.requires_grad_(False).eval()

    @torch.no_grad()
    def trunk_features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cells [B, C, h, w] and sound [B, C] before the projections, computed once for each (clip, frame)."""
        keys = [f"{clip}:{frame}" for clip, frame in zip(batch["id"], batch["frame"].tolist(), strict=True)]
        new = [index for index, key in enumerate(keys) if key not in self.features]
        if new:
            images = (batch["image"][new].float() / 255 - self.frozen.image_mean) / self.frozen.image_std
            cells = self.network.imgnet(images)
            sounds = self.network.audnet(self.frozen.spectrogram(batch["wave"][new])).amax((2, 3))
            self.features.update({keys[i]: pair for i, pair in zip(new, zip(cells, sounds, strict=True), strict=True)})
        found = [self.features[key] for key in keys]
        return torch.stack([cells for cells, _ in found]), torch.stack([sound for _, sound in found])

    def after_step(self) -> None:
        """Nothing follows this network."""

    def state_dict(self) -> dict[str, Any]:
        """The network."""
        return {"network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.network.load_state_dict(state["network"])

    def export(self, folder: Path) -> None:
        """Write the localizer with the sizes of its inputs."""
        save_localizer(folder / WEIGHTS, self.network, _config(self.recipe))


def build_state(recipe: LocalizationRecipe, data: LocalizationData, context: Context) -> LocalizationState:
    """The network with its start.

    Raises:
        DataError: a weight file is missing or does not fit.
    """
    settings = recipe.model
    network = FNAC(
        settings.dim,
        width=settings.width,
        stride=settings.stride,
        norm=settings.norm,
        dropout_image=settings.image_dropout,
        dropout_audio=settings.audio_dropout,
    )
    path = context.weights_of(settings.init, WEIGHTS)
    if path is not None:
        load_fnac(network, path)
    elif settings.init is not None and settings.init.timm is not None:
        load_timm(network.imgnet, settings.init.timm)
    share_norms(network)
    network.to(context.device)
    if recipe.train.channels_last:
        lay_channels_last(network)
    frozen = FrozenLocalizer(network, input_size=recipe.input.size, seconds=recipe.input.seconds).to(context.device)
    network.requires_grad_(True)
    return LocalizationState(recipe, network, frozen, context.device)


def _config(recipe: LocalizationRecipe) -> dict[str, Any]:
    return {"input_size": recipe.input.size, "seconds": recipe.input.seconds, "recipe": recipe.name}
