"""The recipe of audio-visual event localization: TACMA and its rivals on features that are fixed."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from asgmcli.recipe.base import Best, TrainedRecipe
from asgmcli.recipe.bounds import NonNegative, Seed, Share, ShareBelowOne, Width
from asgmcli.recipe.event_representation import Sizes
from asgmcli.recipe.events import (
    AudioNet,
    Draws,
    EventClip,
    FrameInput,
    LabeledEvents,
    SeeingNet,
    idle_networks,
)
from asgmcli.recipe.sections import Guide, Name, OwnInit, OwnStart, Section, Start
from asgmcli.recipe.training import PartialTrain, ValidatedTrain


class EventFeatures(Section):
    """The fixed features that are classified."""

    kind: Literal["encoder", "backbones"] = "encoder"
    """Those of a run of event_representation, or of the backbones alone."""
    recipe: Name | None = None
    """Recipe of event_representation whose run encodes; it is trained first where it has no run."""
    seed: Seed | None = None
    """Seed of that run, the recipe's own where left out; `run` takes the seed of this run."""
    row: Name | None = None
    """Row of that recipe, its default one where left out."""
    draws: Draws = 1
    """Frames a second whose features backbones average: the middle one, or several."""
    motion: bool = False
    """Put beside the average how much these features change within the second, their deviation."""
    maps: Literal["released", "backbones"] = "released"
    """Maps of 7x7 cells that AVEL and PSP take: those that `asgm prepare` stored, or of the backbones."""


class EventModel(Section):
    """The network that names the event of each segment."""

    kind: Literal["tacma", "probe", "bilstm", "avel", "psp"] = "tacma"
    """TACMA, its classifier alone, that behind a BiLSTM a modality, AVEL or PSP."""
    modality: Literal["both", "audio", "visual"] = "both"
    """What a probe, a BiLSTM or AVEL takes."""
    dim: Width = 256
    """d, width of both features; others are brought to it by a trained linear layer each."""
    hidden: Width = 256
    """d_h, width in which TACMA compares segments."""
    out: Width = 256
    """d_e, width in which TACMA adds both streams."""
    theta: NonNegative = 0.03
    """How quickly TACMA's weights fall with the distance in time; 0 leaves them as they are."""
    fuse: Literal["printed", "cross"] = "printed"
    """TACMA's weights as Eq. 6 has them, or exchanged: each stream then collects values of the other one."""
    head: Sizes = (128, 64)
    """Hidden widths of the classifier."""
    attention: bool = True
    """Let AVEL attend to the picture by the sound; else the mean of its cells is taken."""
    threshold: Share = 0.099
    """PSP's connections that are not above it are cut."""
    dropout: ShareBelowOne = 0.1
    """PSP's dropout after each ReLU of the propagation."""
    init: OwnInit = None
    """Start of the BiLSTMs: a run of event_representation, or its weight file; none: random weights."""


USED = {
    "tacma": {"dim", "hidden", "out", "theta", "fuse", "head"},
    "probe": {"dim", "head", "modality"},
    "bilstm": {"dim", "head", "modality", "init"},
    "avel": {"modality", "attention"},
    "psp": {"threshold", "dropout"},
}
"""Keys of `model` that each kind obeys."""


class PairLoss(Section):
    """PSP's pair similarity loss."""

    weight: NonNegative = 0.0
    """Its weight; the paper's is 100, 0 leaves it out."""


class EventLosses(Section):
    """The loss that is trained."""

    kind: Literal["cross_entropy", "released"] = "cross_entropy"
    """Cross-entropy, or the loss that AVEL's release has: multi-label soft margin on softmax output."""
    pair: PairLoss = PairLoss()
    """PSP's pair similarity loss."""


class WeakSupervision(Section):
    """Training by the category of a video alone."""

    pool: Literal["mean", "max"] = "mean"
    """How the logits of a video's segments become those of the video."""


class EventTrain(ValidatedTrain, PartialTrain):
    """Training of a network on fixed features."""

    partial: Literal["fill", "drop", "keep"] = "keep"
    """An epoch's last clips that make no whole batch: filled from another shuffle, left out, or a smaller batch."""


class EventLocalizationRecipe(TrainedRecipe):
    """Audio-visual event localization: the event of each second, or background, from features that are fixed."""

    headline: ClassVar[str] = "accuracy"
    best: ClassVar[Best | None] = Best(("accuracy",))
    task: Literal["event_localization"]
    """Audio-visual event localization."""
    data: LabeledEvents
    """Clips with their events."""
    clip: EventClip = EventClip()
    """Windows that clips are cut into."""
    features: EventFeatures
    """The fixed features that are classified."""
    frames: FrameInput = FrameInput()
    """Frames that backbones see."""
    audio: AudioNet = AudioNet()
    """The backbone that hears a second."""
    visual: SeeingNet = SeeingNet()
    """The backbone that sees a frame."""
    model: EventModel = EventModel()
    """The network that names the event of each segment."""
    supervision: Literal["full", "weak"] = "full"
    """Train by the class of each segment, or by the video's category alone."""
    weak: WeakSupervision = WeakSupervision()
    """Training by the category of a video alone."""
    losses: EventLosses = EventLosses()
    """What is trained."""
    train: EventTrain = Field(default_factory=EventTrain)
    """How long is trained, in what batches, and what is kept on the way."""

    @model_validator(mode="after")
    def _fits(self) -> EventLocalizationRecipe:
        faults = []
        if self.takes == "encoder" and self.features.recipe is None:
            faults.append("features.kind encoder: name a recipe of event_representation by features.recipe")
        if self.model.kind == "bilstm" and self.features.kind != "backbones":
            faults.append("model.kind bilstm is trained on backbone features: set features.kind to backbones")
        if self.features.motion and self.takes == "backbones" and self.features.draws == 1:
            faults.append("features.motion is how frames of a second differ: set features.draws to 2 or more")
        if self.model.kind == "bilstm" and self.model.dim % 2:
            faults.append("model.dim is that of both directions of a BiLSTM: an even number")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found, model = super().idle(), self.model
        why = f"model.kind is {model.kind}"
        found |= {f"model.{key}": why for key in type(model).model_fields if key not in {"kind", *USED[model.kind]}}
        if model.kind == "avel" and model.modality != "both":
            found["model.attention"] = f"model.modality is {model.modality}"
        found |= self._idle_features()
        if self.supervision == "weak":
            found |= dict.fromkeys(("losses.kind", "losses.pair"), "supervision is weak")
        else:
            found["weak"] = "supervision is full"
        if model.kind != "psp":
            found["losses.pair"] = why
        if model.kind != "avel":
            found["losses.kind"] = why
        if self.data.labeled_clips is None:
            found["data.split_seed"] = "data.labeled_clips is null"
        return found

    def _idle_features(self) -> dict[str, str]:
        named = ("features.recipe", "features.seed", "features.row")
        made = ("features.draws", "features.motion", "frames", "audio", "visual")
        if self.takes == "encoder":
            return dict.fromkeys((*made, "features.maps"), "features.kind is encoder")
        if self.takes == "backbones":
            found = idle_networks(self.audio, self.visual)
            return found | dict.fromkeys((*named, "features.maps"), "features.kind is backbones")
        why = f"model.kind is {self.model.kind}"
        found = dict.fromkeys(("features.kind", *named), why)
        if self.takes == "maps":
            return found | {"features.motion": why} | idle_networks(self.audio, self.visual)
        return found | dict.fromkeys(made, "features.maps are released")

    @property
    def takes(self) -> Literal["encoder", "backbones", "released", "maps"]:
        """Return what its network takes: features of an encoder or of backbones, released maps, or the backbones'."""
        if self.model.kind not in ("avel", "psp"):
            return self.features.kind
        return "released" if self.features.maps == "released" else "maps"

    def sources(self) -> list[OwnStart | Guide]:
        """Return the run that encodes, or the backbones' starts, and the BiLSTMs'."""
        found: list[OwnStart | Guide | None] = [self.encoder, self.model.init]
        if self.takes in ("backbones", "maps"):
            found += [self.audio.init, self.visual.init]
        return [source for source in found if source is not None]

    @property
    def encoder(self) -> Start | None:
        """Return the run whose encoder gives the features; None where none does."""
        if self.takes != "encoder":
            return None
        return Start(recipe=self.features.recipe, seed=self.features.seed, row=self.features.row)
