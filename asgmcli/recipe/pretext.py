"""The recipe of a start for small networks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from asgmcli.recipe.base import TrainedRecipe
from asgmcli.recipe.bounds import Generated, Positive, PositiveShare, Share, Width
from asgmcli.recipe.clips import ClipSize, Sound, SoundAugment
from asgmcli.recipe.localization import LocalizerSize
from asgmcli.recipe.networks import EncoderSize, VideoSize, patch_faults
from asgmcli.recipe.sections import Section

MOST_GLYPHS = 213
"""Glyphs that there are to practise on."""


class BackboneSizes(Section):
    """A ResNet-18 that sees a frame and one that hears a second, as small recipes of event localization have them."""

    visual_width: Width = 16
    """Channels of the first stage of the one that sees."""
    visual_stride: Literal[8, 16, 32] = 8
    """Pixels that a cell of its map spans."""
    audio_width: Width = 16
    """Channels of the first stage of the one that hears."""
    audio_stride: Literal[8, 16, 32] = 16
    """Cells of a log-mel patch that a cell of its map spans."""


class PretextModel(Section):
    """The networks that a pretext run trains: encoders, a localizer, or two backbones."""

    video: VideoSize | None = None
    """The video transformer; alone or with `audio`."""
    audio: EncoderSize | None = None
    """The audio transformer; alone or with `video`."""
    localizer: LocalizerSize | None = None
    """A localizer, in place of both."""
    backbones: BackboneSizes | None = None
    """Two small networks for event localization, in place of both."""

    @model_validator(mode="after")
    def _one_kind(self) -> PretextModel:
        kinds = (self.encodes, self.localizer is not None, self.backbones is not None)
        if sum(kinds) != 1:
            raise ValueError("give either video and audio, one or both, or localizer, or backbones")
        return self

    @property
    def encodes(self) -> bool:
        """Return True if the encoders are trained, one or both."""
        return self.video is not None or self.audio is not None

    @property
    def sees(self) -> bool:
        """Return True if a network sees."""
        return self.audio is None or self.video is not None

    @property
    def listens(self) -> bool:
        """Return True if a network hears."""
        return self.video is None or self.audio is not None


class PretextData(Section):
    """The number of clips that are generated, and how much of them is shown in which share of the run.

    Tokens are dropped as masked autoencoders do, at a fraction of the cost.
    """

    glyphs: Annotated[int, Field(ge=2, le=MOST_GLYPHS)] | None = None
    """Glyphs of a font that stills show, anew in every epoch; null: shapes that move."""
    train: Generated = 6000
    """Clips to train on; with `glyphs` stills an epoch."""
    test: Generated = 500
    """Clips that it is evaluated on."""
    still_share: Share = 0.7
    """First share of the epochs, in which only one frame of each clip is shown."""
    still_tokens: Positive | None = None
    """Tokens of a still that are seen, those nearest to the shapes; null shows all."""
    clip_tokens: Positive | None = None
    """Tokens of each frame of a clip that are seen, those nearest to the shapes; null shows all."""
    whole_share: Share = 0.1
    """Last share of the epochs, in which all tokens are seen."""
    heard_share: PositiveShare = 1.0
    """Share of each batch that is heard."""


class PretextRecipe(TrainedRecipe):
    """A start for small networks: shapes or glyphs, motions, timbres and envelopes that no later task uses."""

    one_process: ClassVar[bool] = True
    task: Literal["pretext"]
    """A start for small networks."""
    clip: ClipSize = ClipSize()
    """Frames of a clip."""
    audio: Sound = Sound()
    """Sound of a clip."""
    augment: SoundAugment = SoundAugment()
    """How the sound is changed for training."""
    model: PretextModel
    """What is trained."""
    generated: PretextData = PretextData()
    """Clips that are generated, and how much of them is shown."""

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found, made = super().idle(), self.generated
        if self.model.localizer is not None:
            found |= dict.fromkeys(("audio.mels", "augment"), "model.localizer hears waves as they are")
        if self.model.backbones is not None:
            found |= dict.fromkeys(("audio", "augment"), "model.backbones hear a second's log-mel patch as it is")
        if made.still_tokens is None and made.clip_tokens is None:
            found["generated.whole_share"] = "generated.still_tokens and generated.clip_tokens are null"
        if made.glyphs is not None:
            stills = ("clip.frames", "clip.stride", "generated.still_share", "generated.whole_share")
            found |= dict.fromkeys(stills, "generated.glyphs are shown in stills")
        if not self.model.sees:
            pictures = ("clip", "generated.still_share", "generated.whole_share")
            found |= dict.fromkeys(pictures, "model.audio alone sees nothing")
        if not self.model.listens:
            sounds = ("audio", "augment", "generated.heard_share")
            found |= dict.fromkeys(sounds, "model.video alone hears nothing")
        return found

    @property
    def still(self) -> ClipSize:
        """Return the clip that a network sees: with `generated.glyphs` a single frame."""
        return self.clip if self.generated.glyphs is None else self.clip.model_copy(update={"frames": 1, "stride": 1})

    @model_validator(mode="after")
    def _sizes(self) -> PretextRecipe:
        kept = {name: getattr(self.generated, name) for name in ("still_tokens", "clip_tokens")}
        kept = {name: count for name, count in kept.items() if count is not None}
        if self.model.video is None:
            faults = [f"generated.{name} is of the video transformer: leave it out" for name in kept]
            if self.generated.glyphs is not None and not self.model.sees:
                faults.append("generated.glyphs is of networks that see: leave it out")
            faults += patch_faults(self.clip, self.audio, None, self.model.audio)
        elif self.generated.glyphs is not None:
            faults = [f"generated.{name} is of shapes that move: leave it out beside glyphs" for name in kept]
            faults += patch_faults(self.still, self.audio, self.model.video, self.model.audio)
        else:
            faults = patch_faults(self.clip, self.audio, self.model.video, self.model.audio)
            cells = (self.clip.size // self.model.video.patch_size) ** 2
            faults += [
                f"generated.{name} {count} is more than the {cells} tokens of a frame"
                for name, count in kept.items()
                if count > cells
            ]
        if faults:
            raise ValueError("; ".join(faults))
        return self
