"""Sections of both recipes of audio-visual event localization: windows, frames, sound, and backbones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from asgmcli.recipe.bounds import Count, Pixels, Positive, Width, Workers
from asgmcli.recipe.sections import Init, OwnInit, Section, Split, SplitData, or_none

OptionalWidth = Annotated[Width | None, BeforeValidator(or_none)]
Hop = Annotated[float, Field(ge=0.5, le=1.0)]
Segments = Annotated[int, Field(gt=0, le=600)]
Draws = Annotated[int, Field(gt=0, le=16)]


class EventData(SplitData):
    """A data set whose events have a start and an end: `segments.csv` beside its manifest."""

    val_split: Split = "val"
    """Split by which the epoch is chosen; none is chosen where the manifest lacks it."""
    workers: Workers = 0
    """Processes that decode clips; 0 decodes in a thread of the training process."""

    def splits(self) -> list[str]:
        """Return the splits that a run reads in whole."""
        return [self.train_split, self.val_split, self.eval_split]


class EventClip(Section):
    """Windows that clips are cut into."""

    seconds: Segments = 10
    """T, length of a window, s, each second a segment; a clip's last window is padded."""


class FrameInput(Section):
    """Frames of the picture."""

    size: Pixels = 224
    """Side of the square picture that the network sees, pixels."""
    resize_to: Pixels = 256
    """Side, or short side, that frames are resized to before they are cropped, pixels."""
    resize: Literal["squash", "short"] = "squash"
    """Make a frame square, as the paper prints it, or keep its aspect."""


class SeeingNet(Section):
    """The network that sees a frame."""

    kind: Literal["resnet50", "resnet18"] = "resnet50"
    """timm's ResNet-50, or a ResNet-18 of any width for small frames."""
    width: Width = 64
    """Channels of the first stage of resnet18."""
    stride: Literal[8, 16, 32] = 32
    """Pixels that a cell of resnet18's last map spans."""
    init: Init = None
    """Where its weights come from; none: random ones."""


class VisualNet(SeeingNet):
    """The network that sees a frame, and what is trained of it."""

    reduce: OptionalWidth = 512
    """Width of a trained linear layer behind it; `none` leaves its features as they are."""
    norm: Literal["frozen", "batch"] = "frozen"
    """Statistics of its batch norms: those of its start, or each batch's own."""


class AudioNet(Section):
    """The network that hears a second."""

    kind: Literal["vggish", "resnet18"] = "vggish"
    """VGGish, or a ResNet-18 of any width over the same log-mel patches."""
    width: Width = 64
    """Channels of its first convolution."""
    hidden: Width = 4096
    """Width of VGGish's hidden layers."""
    dim: Width = 128
    """Width of VGGish's embedding."""
    last_relu: bool = True
    """Apply a ReLU to VGGish's embedding, as AVE's features have it."""
    stride: Literal[8, 16, 32] = 32
    """Cells of a patch that a cell of resnet18's last map spans."""
    hop: Hop = 1.0
    """From one patch of sound to the next, s; VGGish's own framing is 0.96."""
    init: OwnInit = None
    """Where its weights come from; none: random ones."""


VGGISH_ALONE = ("hidden", "dim", "last_relu")


def idle_networks(audio: AudioNet, visual: SeeingNet) -> dict[str, str]:
    """Return the keys of both networks that do nothing beside their kind, and why."""
    found = {}
    if audio.kind == "vggish":
        found["audio.stride"] = "audio.kind is vggish"
    else:
        found |= {f"audio.{key}": f"audio.kind is {audio.kind}" for key in VGGISH_ALONE}
    if visual.kind == "resnet50":
        found |= dict.fromkeys(("visual.width", "visual.stride"), "visual.kind is resnet50")
    return found


class FailingData(EventData):
    """Such a data set, of which clips that fail are replaced in training."""

    max_failures: Count = 100
    """Clips that may fail to decode, and are replaced by others, before the run stops."""


class LabeledEvents(EventData):
    """Such a data set, of which some clips count as labelled."""

    labeled_clips: Positive | None = None
    """Training clips whose labels are used, those of the smallest seeded hash; null uses all."""
    split_seed: int | None = None
    """Seed of the draw of the labelled clips, the run's where left out."""
