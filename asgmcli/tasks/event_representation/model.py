"""The encoder and projector in training, and the features of frozen backbones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asgmcli.console import make_console
from asgmcli.data.features import FeatureWriter, Origin
from asgmcli.nn.avbt import AudioVisualEncoder, Projector
from asgmcli.nn.backbones import Reduced
from asgmcli.nn.state import fit
from asgmcli.ranks.exchange import own_rank
from asgmcli.recipe.event_representation import EventRepresentationRecipe
from asgmcli.tasks.event_representation.batch import Batch
from asgmcli.tasks.event_representation.data import RepresentationData
from asgmcli.train.backbones import Backbones
from asgmcli.train.encoder import build_encoder, save_encoder
from asgmcli.train.probe import Encoded
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context
from asgmcli.train.weights import ENCODED, ENCODER_WEIGHTS

STORES = ("f_audio", "f_visual")
"""Features of the finished encoder, in the folder `ENCODED` of the run."""


class AVBT(nn.Module):
    """The encoder, and the projector of both streams, or one each."""

    def __init__(self, recipe: EventRepresentationRecipe) -> None:
        super().__init__()
        self.encoder = build_encoder(recipe)
        dim, sizes = 2 * recipe.hidden, recipe.projector.sizes
        self.projector = Projector(dim, sizes)
        self.visual_projector = None if recipe.projector.shared else Projector(dim, sizes)

    def project(self, f_a: Tensor, f_v: Tensor) -> tuple[Tensor, Tensor]:
        """Return both embeddings [B, T, D] of features [B, T, d]; each stream has its own batch statistics."""
        visual = self.projector if self.visual_projector is None else self.visual_projector
        return _by_rows(self.projector, f_a), _by_rows(visual, f_v)


def _by_rows(projector: nn.Module, features: Tensor) -> Tensor:
    rows: Tensor = projector(features.flatten(0, 1)).unflatten(0, features.shape[:2])
    return rows


@dataclass
class Known:
    """Features of frozen backbones, on the device of the step.

    Attributes:
        audio: float16 [W, T, A].
        visual: float16 [W, T, draws, V].
    """

    audio: Tensor
    visual: Tensor

    def drawn(self, windows: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 audio [B, T, A] and visual [B, T, V] of some windows, one draw a segment."""
        visual = self.visual[windows]
        places = draws[..., None, None].expand(-1, -1, 1, visual.shape[-1])
        return self.audio[windows].float(), visual.gather(2, places).squeeze(2).float()

    def mean(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 audio [B, T, A] and visual [B, T, V] of some windows, averaged over draws."""
        return self.audio[windows].float(), self.visual[windows].float().mean(2)


@dataclass
class RepresentationState(SingleNetwork):
    """The network that is trained, and the features that the finished encoder made of the data."""

    recipe: EventRepresentationRecipe
    network: AVBT
    data: RepresentationData
    device: torch.device
    known: Known | None
    encoded: Encoded | None = field(default=None, repr=False)

    @property
    def encoder(self) -> AudioVisualEncoder:
        """Return the encoder."""
        return self.network.encoder

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return f_a and f_v [B, T, d] of a batch; frames go through the backbones in `train.accumulate` parts.

        A part's activations are computed again in the backward pass, so that only one part's are held; the rest of the
        network and the loss see the whole batch. Backbone norms are frozen, so that the result is the same.
        """
        encoder = self.encoder
        if batch.inputs is None:
            assert self.known is not None
            audio, visual = self.known.drawn(batch.windows, batch.draws)
            assert isinstance(encoder.visual, Reduced)
            return encoder.temporal(audio, encoder.visual.reduce(visual))
        frames, patches = batch.inputs.frames, batch.inputs.patches
        parts = self.recipe.train.accumulate
        if parts == 1:
            return encoder(frames, patches)  # type: ignore[no-any-return]

        def through(frames: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
            return encoder.audio_features(patches), encoder.visual_features(frames)

        found = [
            checkpoint(through, *part, use_reentrant=False)
            for part in zip(frames.chunk(parts), patches.chunk(parts), strict=True)
        ]
        return encoder.temporal(torch.cat([audio for audio, _ in found]), torch.cat([visual for _, visual in found]))

    def export(self, folder: Path) -> None:
        """Write the encoder, and what it made of the data set, for the recipes that build on it."""
        save_encoder(folder / ENCODER_WEIGHTS, self.encoder, self.recipe)
        if self.encoded is None:
            return
        source = self.data.events.source
        origin = Origin(source.manifest.sha256, "this run's encoder", {"seconds": source.seconds})
        for name, values in zip(STORES, (self.encoded.audio, self.encoded.visual), strict=True):
            array = values.half().cpu().numpy()
            with FeatureWriter(folder / ENCODED, name, origin, source.clips, array.shape[1:]) as writer:
                first = 0
                rows = []
                for clip, count in source.clips.items():
                    rows.append((clip, array[first : first + count]))
                    first += count
                writer.write(rows)


def build_state(recipe: EventRepresentationRecipe, data: RepresentationData, context: Context) -> RepresentationState:
    """Build the network and load its starts; with frozen backbones make their features, once.

    Raises:
        DataError: a weight file is missing or does not fit, or a clip cannot be decoded.
    """
    network = AVBT(recipe)
    backbones = Backbones(recipe.audio, recipe.visual, recipe.frames, recipe.seed)
    visual = network.encoder.visual
    assert isinstance(visual, Reduced)
    _copy(network.encoder.audio, backbones.build_audio(context))
    _copy(visual.body, backbones.build_visual(context, maps=visual.body.maps))
    known = None
    if not recipe.train_backbones:
        network.encoder.audio.requires_grad_(False)
        visual.body.requires_grad_(False)
        known = _known(backbones, recipe, data, context)
    network.to(context.device)
    return RepresentationState(recipe, network, data, context.device, known)


def _copy(target: nn.Module, source: nn.Module) -> None:
    fit(target, source.state_dict(), "the start", may_keep=lambda _: False, resize={})


def _known(
    backbones: Backbones, recipe: EventRepresentationRecipe, data: RepresentationData, context: Context
) -> Known:
    windows, workers = data.events.source, recipe.data.workers
    console = make_console(quiet=own_rank() > 0)
    audio = backbones.audio_features(windows, context, workers, console)
    visual = backbones.visual_features(windows, recipe.features.draws, context, workers, console)
    stored = (torch.from_numpy(features.loaded().array).to(context.device) for features in (audio, visual))
    return Known(*stored)
