"""Sizes and starts of the recognition network's parts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from asgmcli.recipe.bounds import Depth, Frames, Heads, Pixels, ShareBelowOne, Width
from asgmcli.recipe.clips import ClipSize, Sound
from asgmcli.recipe.sections import Init, Section

CELL = 8
"""Pixels of a patch's side where the stem is of convolutions."""


class TransformerSize(Section):
    """A transformer's size. Defaults are ViT-B/16."""

    dim: Width = 768
    """D, the width of a token."""
    depth: Depth = 12
    """Blocks."""
    heads: Heads = 12
    """Heads of each attention; divides `dim`."""
    patch_size: Pixels = 16
    """Side of the square patch that a token is made of, pixels or log-mel cells."""
    embed_hidden: Width | None = None
    """Width of a hidden layer in the patch embedding; left out: one linear layer, as in ViT."""

    @model_validator(mode="after")
    def _heads(self) -> TransformerSize:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        return self


class EncoderSize(TransformerSize):
    """The size of a transformer that is trained."""

    drop_path: ShareBelowOne = 0.1
    """Share of residual branches that training skips in the last block, less in earlier ones."""


class VideoSize(EncoderSize):
    """A video transformer's size."""

    tubelet: Frames = 1
    """Frames that a token spans."""
    stem: Literal["patches", "convolutions"] = "patches"
    """What makes tokens of pixels: each patch by itself, as ViT does, or five convolutions, which small networks learn
    from fewer pictures; clips are then mixed before them, patch by patch."""

    @model_validator(mode="after")
    def _convolutions(self) -> VideoSize:
        if self.stem == "convolutions" and (self.patch_size, self.tubelet, self.embed_hidden) != (CELL, 1, None):
            raise ValueError(f"stem convolutions goes with patch_size {CELL}, tubelet 1 and no embed_hidden")
        return self


class Encoder(EncoderSize):
    """A transformer's size and start."""

    init: Init = None
    """Where the first weights come from; none: random ones."""


class VideoEncoder(VideoSize):
    """The video transformer's size and start."""

    init: Init = None
    """Where the first weights come from; none: random ones."""
    frozen_stem: bool = False
    """Keep what makes tokens of pixels as it starts, its batch norms too; `init` must then name a start."""

    @model_validator(mode="after")
    def _frozen(self) -> VideoEncoder:
        if self.frozen_stem and self.init is None:
            raise ValueError("frozen_stem keeps the stem as it starts: give init a start")
        return self


class Fusion(Section):
    """The transformer over the two class tokens (Eq. 11)."""

    layers: Depth = 2
    """Blocks."""
    heads: Heads = 12
    """Heads of each attention; divides the encoders' `dim`."""


class Model(Section):
    """The recognition network. Where `modality` names one sense alone, the other's encoder and fusion are left out."""

    modality: Literal["video", "video+audio", "audio"] = "video+audio"
    """What the network takes."""
    video: VideoEncoder = VideoEncoder()
    """The video transformer."""
    audio: Encoder = Encoder()
    """The audio transformer."""
    fusion: Fusion = Fusion()
    """The transformer over both class tokens."""
    mean: tuple[float, float, float] = Field((0.5, 0.5, 0.5), strict=False)
    """Mean of red, green and blue that pictures are normalised by, 0..1."""
    std: tuple[float, float, float] = Field((0.5, 0.5, 0.5), strict=False)
    """Standard deviation of red, green and blue that pictures are normalised by, 0..1."""

    @model_validator(mode="after")
    def _same_width(self) -> Model:
        if self.modality == "video+audio" and self.video.dim != self.audio.dim:
            raise ValueError("fusion takes two class tokens of one width: model.video.dim must equal model.audio.dim")
        if self.modality == "video+audio" and self.video.dim % self.fusion.heads:
            raise ValueError(f"model.fusion.heads {self.fusion.heads} does not divide model.video.dim {self.video.dim}")
        return self


def patch_faults(clip: ClipSize, audio: Sound, video: VideoSize | None, sound: EncoderSize | None) -> list[str]:
    """Return what is wrong with patches that do not tile the frames or the log-mel; None: no picture, no sound."""
    return [*_tile_faults(clip, video), *_log_mel_faults(audio, sound)]


def _tile_faults(clip: ClipSize, video: VideoSize | None) -> list[str]:
    faults: list[str] = []
    if video is None:
        return faults
    if clip.size % video.patch_size:
        faults.append(f"clip.size {clip.size} is not a multiple of model.video.patch_size {video.patch_size}")
    if clip.size == video.patch_size:
        faults.append(f"clip.size {clip.size} is a single patch: mixing needs at least two tokens a frame")
    if clip.frames % video.tubelet:
        faults.append(f"clip.frames {clip.frames} is not a multiple of model.video.tubelet {video.tubelet}")
    return faults


def _log_mel_faults(audio: Sound, sound: EncoderSize | None) -> list[str]:
    faults: list[str] = []
    if sound is not None and audio.mels % sound.patch_size:
        faults.append(f"audio.mels {audio.mels} is not a multiple of model.audio.patch_size {sound.patch_size}")
    if sound is not None and audio.length % sound.patch_size:
        faults.append(
            f"audio.seconds {audio.seconds:g} gives {audio.length} time steps, not a multiple of "
            f"model.audio.patch_size {sound.patch_size}"
        )
    return faults
