"""A recipe's frozen backbones: their weights, and the features that they make of a data set once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from torch import Tensor, nn

from asgmcli.data.features import Features, hash_file
from asgmcli.data.windows import WindowSet
from asgmcli.nn.backbones import (
    PatchNet,
    VisualBackbone,
    audio_dim,
    build_audio,
    load_audio,
    load_visual,
    map_side,
    visual_dim,
)
from asgmcli.nn.vggish import VGGish
from asgmcli.prepare.extract import Extraction, FrameClips, SoundClips, draws_of, ensure_features
from asgmcli.recipe.events import AudioNet, FrameInput, SeeingNet
from asgmcli.recipe.sections import OwnInit, Start
from asgmcli.train.seed import forked
from asgmcli.train.task import Context
from asgmcli.train.weights import BACKBONE_WEIGHTS


@dataclass(frozen=True)
class Backbones:
    """The networks that see and hear in a recipe, and the source of their weights.

    Attributes:
        audio: the network that hears a second.
        visual: the network that sees a frame.
        frames: how frames are read.
        seed: of weights that are random.
    """

    audio: AudioNet
    visual: SeeingNet
    frames: FrameInput
    seed: int

    def build_audio(self, context: Context) -> VGGish | PatchNet:
        """Return the network that hears a second, with its start.

        Raises:
            DataError: a weight file is missing or does not fit.
        """
        with forked(self.seed):
            net = build_audio(self.audio)
        _load(self.audio.init, context, lambda source, timm: load_audio(net, source, timm=timm))
        return net

    def build_visual(self, context: Context, *, frozen_norm: bool = True, maps: bool = False) -> VisualBackbone:
        """Return the network that sees a frame, with its start.

        Raises:
            DataError: a weight file is missing or does not fit.
        """
        with forked(self.seed):
            net = VisualBackbone(self.visual, frozen_norm=frozen_norm, maps=maps)
        _load(self.visual.init, context, lambda source, timm: load_visual(net, source, timm=timm))
        return net

    def audio_features(self, windows: WindowSet, context: Context, workers: int, console: Console | None) -> Features:
        """Return what the first network makes of every second, [windows, T, dim], computed once.

        Raises:
            MediaError: a clip cannot be decoded. DataError: weights are missing, or the disk is full.
        """
        settings = self.audio.model_dump(mode="json", exclude={"init"})
        shape = (windows.seconds, audio_dim(self.audio))
        wanted = Extraction(
            f"audio_{self.audio.kind}",
            SoundClips(windows, self.audio),
            lambda: self.build_audio(context),
            shape,
            self._weights(self.audio.init, context),
            settings,
        )
        return ensure_features(wanted, context.device, workers, console)

    def visual_features(
        self,
        windows: WindowSet,
        draws: int,
        context: Context,
        workers: int,
        console: Console | None,
        *,
        maps: bool = False,
    ) -> Features:
        """Return what the second network makes of `draws` frames of every second, [windows, T, draws, dim], or the mean
        of their maps, [windows, T, h, w, dim].

        Raises:
            MediaError: a clip cannot be decoded. DataError: weights are missing, or the disk is full.
        """
        settings = self.visual.model_dump(mode="json", include={"kind", "width", "stride"})
        settings |= self.frames.model_dump(mode="json") | {"draws": draws}
        side, dim = map_side(self.visual, self.frames), visual_dim(self.visual)

        def build() -> nn.Module:
            net = self.build_visual(context, maps=maps)
            return MeanMap(net, draws) if maps else net

        wanted = Extraction(
            f"maps_{self.visual.kind}" if maps else f"visual_{self.visual.kind}",
            FrameClips(windows, self.frames, draws_of(draws)),
            build,
            (windows.seconds, side, side, dim) if maps else (windows.seconds, draws, dim),
            self._weights(self.visual.init, context),
            settings,
        )
        return ensure_features(wanted, context.device, workers, console)

    def _weights(self, init: OwnInit, context: Context) -> str:
        """Return what tells a network's weights from others: a file's hash, timm's name, or the seed of random ones."""
        if isinstance(init, Start) and init.timm is not None:
            return f"timm:{init.timm}"
        path = context.weights_of(init, BACKBONE_WEIGHTS)
        return f"random:{self.seed}" if path is None else hash_file(path)


class MeanMap(nn.Module):
    """The maps of a backbone, averaged over the frames of a second, channels last."""

    def __init__(self, net: VisualBackbone, draws: int) -> None:
        super().__init__()
        self.net, self.draws = net, draws

    def forward(self, frames: Tensor) -> Tensor:
        """Return [N, h, w, C] of frames [N * draws, 3, H, W]."""
        maps: Tensor = self.net(frames).unflatten(0, (-1, self.draws)).mean(1).permute(0, 2, 3, 1)
        return maps


def _load(init: OwnInit, context: Context, load: Callable[[str, bool], object]) -> None:
    if init is None:
        return
    path = context.weights_of(init, BACKBONE_WEIGHTS)
    load(str(getattr(init, "timm", None) if path is None else path), path is None)
