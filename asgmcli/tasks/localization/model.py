"""A localizer as it is trained, and as it is kept for others to be guided by."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from asgmcli.nn.encoders import build_audio_encoder, build_video_encoder
from asgmcli.nn.kept import Kept, name_sounds
from asgmcli.nn.localizer import FNAC, FrozenLocalizer, load_fnac, save_localizer
from asgmcli.nn.resnet import lay_channels_last
from asgmcli.nn.start_localizer import StartLocalizer
from asgmcli.nn.weights import load_timm, start_from
from asgmcli.ranks.exchange import count_ranks
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.tasks.localization.batch import FrozenBatch, Pairs
from asgmcli.tasks.localization.data import LocalizationData, Place
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context
from asgmcli.train.weights import AUDIO_WEIGHTS, LOCALIZER_WEIGHTS, VIDEO_WEIGHTS


@dataclass
class LocalizationState(SingleNetwork):
    """The network in training, and the same weights as a frozen localizer for the preparation of its inputs.

    With frozen trunks `cells` and `sounds` are what these made of each frame and of each sound, `names` says which
    sound is a frame's, and `known` tells the loader which pairs need not be read again.
    """

    recipe: LocalizationRecipe
    network: FNAC | StartLocalizer
    frozen: FrozenLocalizer
    device: torch.device
    epoch: int = 0
    step: int = 0
    known: set[Place] = field(default_factory=set)
    names: dict[Place, bytes] = field(default_factory=dict)
    cells: Kept = field(default_factory=Kept)
    sounds: Kept = field(default_factory=Kept)

    def trained(self) -> list[nn.Module]:
        """Return both ResNets and their projections, or the projections alone."""
        if self.recipe.model.keeps_trunks:
            return [self.network.img_proj, self.network.aud_proj]  # the norms before them have no weights
        return [self.network]

    def begin_step(self, epoch: int, step: int) -> None:
        """Note the epoch, which decides the terms of the loss; back to training mode after an evaluation."""
        self.epoch, self.step = epoch, step
        if self.network.training:
            return
        self.network.train()
        if self.recipe.model.keeps_trunks:
            for trunk in self.network.trunks():
                trunk.requires_grad_(False).eval()

    @torch.no_grad()
    def trunk_features(self, batch: FrozenBatch) -> tuple[Tensor, Tensor]:
        """Return cells [B, C, h, w] and sound [B, C] before the projections, computed once for each (clip, frame)."""
        places = list(zip(batch.ids, batch.frame.tolist(), strict=True))
        read = {places[index]: row for row, index in enumerate(batch.read.nonzero().flatten().tolist())}
        pairs = batch.pairs
        if pairs is not None:
            self.names.update(zip(read, name_sounds(pairs.wave[list(read.values())]), strict=True))

        def of(part: list[int]) -> Pairs:
            """Return the pairs at these places of the batch, which were read."""
            assert pairs is not None
            rows = [read[places[index]] for index in part]
            return Pairs(pairs.image[rows], pairs.wave[rows])

        cells = self.cells(places, lambda part: self._cells(of(part).image))
        sounds = self.sounds([self.names[place] for place in places], lambda part: self._sounds(of(part).wave))
        self.known.update(read)
        return cells, sounds

    def _cells(self, images: Tensor) -> Tensor:
        """Return image features [n, C, h, w] of uint8 [n, 3, H, W]."""
        return self.network.cells((images.float() / 255 - self.frozen.image_mean) / self.frozen.image_std)

    def _sounds(self, waves: Tensor) -> Tensor:
        """Return audio features [n, C] of sounds [n, S]."""
        return self.network.heard(self.frozen.spectrogram(waves))

    def export(self, folder: Path) -> None:
        """Write the localizer with the sizes of its inputs."""
        save_localizer(folder / LOCALIZER_WEIGHTS, self.network, _config(self.recipe))


def build_state(recipe: LocalizationRecipe, data: LocalizationData, context: Context) -> LocalizationState:
    """Build the network and load its start.

    Raises:
        DataError: a weight file is missing or does not fit.
    """
    if recipe.model.kind == "start":
        network: FNAC | StartLocalizer = _on_start(recipe, data, context)
    else:
        network = _fnac(recipe, context)
    if count_ranks() > 1 and context.device.type == "cuda":  # torch has none for CPUs
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network.to(context.device)
    if recipe.train.channels_last:
        lay_channels_last(network)
    frozen = FrozenLocalizer(network, input_size=recipe.input.size, seconds=recipe.input.seconds).to(context.device)
    network.requires_grad_(True)
    return LocalizationState(recipe, network, frozen, context.device, known=data.views.known)


def _on_start(recipe: LocalizationRecipe, data: LocalizationData, context: Context) -> StartLocalizer:
    """Build two linear maps on trained eyes and ears."""
    statistics = data.mel_statistics
    assert statistics is not None  # measured for this kind
    network = build_on_start(recipe, statistics.mean, statistics.std)
    model = recipe.model
    for encoder, start, name in (
        (network.video, model.video, VIDEO_WEIGHTS),
        (network.audio, model.audio, AUDIO_WEIGHTS),
    ):
        assert start is not None  # the recipe has both
        start_from(encoder, start.init, context.weights_of(start.init, name))
    return network


def build_on_start(recipe: LocalizationRecipe, mel_mean: float = 0.0, mel_std: float = 1.0) -> StartLocalizer:
    """Build the localizer of kind start with random weights."""
    model = recipe.model
    assert model.video is not None
    assert model.audio is not None
    return StartLocalizer(
        build_video_encoder(model.video.size(), recipe.clip, 0),
        build_audio_encoder(model.audio.size(), recipe.sound, recipe.sound.length),
        model.dim,
        mels=model.mels,
        mel_mean=mel_mean,
        mel_std=mel_std,
        noise=model.noise,
    )


def _fnac(recipe: LocalizationRecipe, context: Context) -> FNAC:
    """Build FNAC with its start."""
    settings = recipe.model
    network = FNAC(
        settings.dim,
        width=settings.width,
        stride=settings.stride,
        norm=settings.norm,
        dropout_image=settings.image_dropout,
        dropout_audio=settings.audio_dropout,
    )
    path = context.weights_of(settings.init, LOCALIZER_WEIGHTS)
    if path is not None:
        load_fnac(network, path)
    elif settings.init is not None and settings.init.timm is not None:
        load_timm(network.imgnet, settings.init.timm)
    return network


def _config(recipe: LocalizationRecipe) -> dict[str, object]:
    sizes: dict[str, object] = {"input_size": recipe.input.size, "seconds": recipe.input.seconds, "recipe": recipe.name}
    video, audio = recipe.model.video, recipe.model.audio
    if video is not None and audio is not None:
        sizes |= {"video": video.size().model_dump(), "audio": audio.size().model_dump()}
    return sizes
