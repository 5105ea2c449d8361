"""The recipe of a start for small networks."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from asgmcli.recipe.base import TrainedRecipe
from asgmcli.recipe.bounds import Generated, Positive, PositiveShare, Share, Width
from asgmcli.recipe.clips import ClipSize, Sound, SoundAugment
from asgmcli.recipe.localization import LocalizerSize
from asgmcli.recipe.networks import EncoderSize, VideoSize, patch_faults
from asgmcli.recipe.sections import Section


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
    """The networks that a pretext run trains: the two encoders, a localizer, or two backbones."""

    video: VideoSize | None = None
    """The video transformer; goes with `audio`."""
    audio: EncoderSize | None = None
    """The audio transformer; goes with `video`."""
    localizer: LocalizerSize | None = None
    """A localizer, in place of both."""
    backbones: BackboneSizes | None = None
    """Two small networks for event localization, in place of both."""

    @model_validator(mode="after")
    def _one_kind(self) -> PretextModel:
        kinds = (self.video, self.localizer, self.backbones)
        if (self.video is None) != (self.audio is None) or sum(kind is not None for kind in kinds) != 1:
            raise ValueError("give either video and audio, or localizer, or backbones")
        return self


class PretextData(Section):
    """The number of clips that are generated, and how much of them is shown in which share of the run.

    Tokens are dropped as masked autoencoders do, at a fraction of the cost.
    """

    train: Generated = 6000
    """Clips to train on."""
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
    """A start for small networks: shapes, motions, timbres and envelopes that no later task uses."""

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
        return found

    @model_validator(mode="after")
    def _sizes(self) -> PretextRecipe:
        kept = {name: getattr(self.generated, name) for name in ("still_tokens", "clip_tokens")}
        kept = {name: count for name, count in kept.items() if count is not None}
        if self.model.video is None:
            faults = [f"generated.{name} is of the video transformer: leave it out" for name in kept]
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
