"""The recipe of AV-BT: a two-stream encoder trained without labels, judged by probes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from asgmcli.recipe.base import TrainedRecipe
from asgmcli.recipe.bounds import Batch, Epochs, NonNegative, PositiveFloat, PositiveShare, Width
from asgmcli.recipe.events import (
    AudioNet,
    Draws,
    EventClip,
    FailingData,
    FrameInput,
    VisualNet,
    idle_networks,
)
from asgmcli.recipe.sections import Guide, OwnStart, Section
from asgmcli.recipe.training import PartialTrain

Sizes = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=8)]


class FrameAugment(Section):
    """Barlow Twins' augmentations of a frame, each one on or off."""

    draw: Literal["frame", "clip"] = "frame"
    """Draw anew for each frame, or once for all frames of a clip."""
    crop: bool = True
    """Crop a random part and resize it; without it the whole frame is resized."""
    scale: PositiveShare = 0.08
    """Smallest share of the frame that a crop has; the largest is the whole."""
    flip: bool = False
    """Mirror half of the frames."""
    jitter: bool = False
    """Change brightness, contrast, saturation and hue, of four frames in five."""
    gray: bool = False
    """Take the colours of one frame in five."""
    blur: bool = True
    """Blur half of the frames."""
    solarize: bool = False
    """Invert the bright pixels of one frame in five."""


class ProjectorSizes(Section):
    """Barlow Twins' projector."""

    shared: bool = True
    """One projector for sound and picture, or one each."""
    sizes: Sizes = (2048, 4096, 4096)
    """Widths of its layers; the last is D, the embedding's."""


class BarlowLoss(Section):
    """L_AVBT (Eq. 1-2)."""

    weight: NonNegative = 5e-3
    """Lambda, weight of the redundancy."""
    normalise: Literal["correlation", "printed", "batch"] = "correlation"
    """Eq. 2's correlation over time; T - 1 times as much, as Algorithm 1 prints it; or over all rows of a batch."""


class RepresentationLosses(Section):
    """The loss that is trained."""

    barlow: BarlowLoss = BarlowLoss()
    """The loss between sound and picture."""


class FeatureDraws(Section):
    """Features of frozen backbones, and of the finished encoder."""

    draws: Draws = 1
    """Frames a second: the middle one, or several whose features are averaged, or drawn from by frozen backbones."""


class ProbeSettings(Section):
    """Classifiers on the finished features, which measure them."""

    epochs: Epochs = 300
    """Passes over the training clips."""
    batch: Batch = 128
    """Clips a step."""
    lr: PositiveFloat = 1e-4
    """Learning rate of Adam."""
    gamma: PositiveFloat = 0.98
    """What it is multiplied by at each fall."""
    decay_epochs: Epochs = 10
    """Epochs from one fall to the next."""
    head: Sizes = (128, 64)
    """Hidden widths of the classifier."""


class RepresentationTrain(PartialTrain):
    """Training of AV-BT."""

    partial: Literal["fill", "drop", "keep"] = "drop"
    """An epoch's last clips that make no whole batch: filled from another shuffle, left out, or a smaller batch."""
    accumulate: Batch = 1
    """Save memory: parts that a batch's frames go through the backbones in; the loss stays that of the whole."""


class EventRepresentationRecipe(TrainedRecipe):
    """AV-BT: sound and picture of a video, encoded so that they agree over time; no label is read in training."""

    headline: ClassVar[str] = "accuracy"
    task: Literal["event_representation"]
    """AV-BT: a two-stream encoder, trained without labels."""
    data: FailingData
    """Clips; their events are read by the probes alone."""
    clip: EventClip = EventClip()
    """Windows that clips are cut into."""
    frames: FrameInput = FrameInput()
    """Frames of the picture."""
    audio: AudioNet = AudioNet()
    """The network that hears a second."""
    visual: VisualNet = VisualNet()
    """The network that sees a frame."""
    train_backbones: bool = True
    """Train both of them too, or what follows them alone, on features that are computed once."""
    attention: Literal["none", "agva"] = "none"
    """Average the picture's cells, or attend to them by the sound."""
    hidden: Width = 128
    """Width of each BiLSTM in one direction; features are twice as wide."""
    augment: FrameAugment = FrameAugment()
    """How frames are changed for training."""
    projector: ProjectorSizes = ProjectorSizes()
    """What the loss compares instead of the features."""
    losses: RepresentationLosses = RepresentationLosses()
    """What is trained."""
    features: FeatureDraws = FeatureDraws()
    """Features of frozen backbones, and of the finished encoder."""
    probe: ProbeSettings = ProbeSettings()
    """Classifiers on the finished features, which measure them."""
    train: RepresentationTrain = RepresentationTrain()
    """How long is trained, in what batches, and what is kept on the way."""

    @model_validator(mode="after")
    def _fits(self) -> EventRepresentationRecipe:
        faults = []
        if self.frames.resize_to < self.frames.size:
            faults.append("frames.resize_to must be at least frames.size")
        if self.train.accumulate > 1 and self.visual.norm == "batch":
            faults.append("train.accumulate would change the statistics of visual.norm: batch; take frozen")
        if self.train.accumulate > self.train.batch:
            faults.append(f"train.accumulate {self.train.accumulate} is more than the {self.train.batch} clips a step")
        if self.attention == "agva" and not self.train_backbones:
            faults.append("attention: agva looks at maps, which frozen backbones do not keep: set train_backbones")
        if self.attention == "agva" and self.visual.reduce is None:
            faults.append("attention: agva takes maps of visual.reduce channels: give it a width")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found = super().idle() | idle_networks(self.audio, self.visual)
        if not self.train_backbones:
            why = "train_backbones is false"
            found |= dict.fromkeys(("augment", "train.accumulate", "visual.norm", "data.max_failures"), why)
        elif not self.augment.crop:
            found["augment.scale"] = "augment.crop is false"
        return found

    def sources(self) -> list[OwnStart | Guide]:
        """Return the backbones' starts."""
        return [init for init in (self.audio.init, self.visual.init) if init is not None]
