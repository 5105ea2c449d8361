"""The recipe of a start for small networks."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from asgmcli.recipe.base import Recipe
from asgmcli.recipe.bounds import Generated, Positive, PositiveShare, Share
from asgmcli.recipe.localization import LocalizerModel
from asgmcli.recipe.sections import (
    Audio,
    Augment,
    Clip,
    Encoder,
    Section,
    VideoEncoder,
    patch_faults,
)


class PretextModel(Section):
    """What a pretext run trains, of the sizes that later recipes will use: the two encoders, or a localizer."""

    video: VideoEncoder | None = None
    audio: Encoder | None = None
    localizer: LocalizerModel | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> PretextModel:
        if (self.video is None) != (self.audio is None) or (self.video is None) == (self.localizer is None):
            raise ValueError("give either video and audio, or localizer")
        return self


class PretextData(Section):
    """How many clips are generated, and how much of them is shown in which share of the run.

    In the first `still_share` of the epochs only one frame of each clip is shown. In all but the last `whole_share` the
    video transformer sees `still_tokens` of a still, `clip_tokens` a frame of a clip, those nearest to the shapes (as
    masked autoencoders drop tokens, at a fraction of the cost); left out: all tokens throughout. Of each batch the
    first `heard_share` is heard.
    """

    train: Generated = 6000
    test: Generated = 500
    still_share: Share = 0.7
    still_tokens: Positive | None = None
    clip_tokens: Positive | None = None
    whole_share: Share = 0.1
    heard_share: PositiveShare = 1.0


class PretextRecipe(Recipe):
    """A start for small networks: shapes, motions, timbres and envelopes that no later task uses."""

    one_process: ClassVar[bool] = True
    task: Literal["pretext"]
    clip: Clip = Clip()
    audio: Audio = Audio()
    augment: Augment = Augment()
    model: PretextModel
    generated: PretextData = PretextData()

    @model_validator(mode="after")
    def _sizes(self) -> PretextRecipe:
        kept = {name: getattr(self.generated, name) for name in ("still_tokens", "clip_tokens")}
        kept = {name: count for name, count in kept.items() if count is not None}
        if self.model.video is None:
            faults = [f"generated.{name} is of the video transformer: leave it out for a localizer" for name in kept]
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
