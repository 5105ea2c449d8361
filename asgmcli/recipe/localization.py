"""The recipe of audio source localization."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from asgmcli.recipe.base import TrainedRecipe
from asgmcli.recipe.bounds import (
    Batch,
    EpochCount,
    Frames,
    MaskWidth,
    Mels,
    NonNegative,
    Pixels,
    PositiveFloat,
    Seconds,
    Share,
    Width,
)
from asgmcli.recipe.clips import Audio, ClipSize
from asgmcli.recipe.networks import EncoderSize, TransformerSize, VideoSize, patch_faults
from asgmcli.recipe.sections import Data, Guide, Init, OwnStart, Section, TrainingData
from asgmcli.recipe.training import ConvolutionTrain


class LocalizerSize(Section):
    """FNAC's size: width 64 and stride 32 are ResNet-18; smaller ones suit small clips."""

    dim: Width = 512
    """Width of the space that picture and sound share."""
    width: Width = 64
    """Channels of the ResNets' first stage."""
    stride: Literal[8, 16, 32] = 32
    """Pixels that a cell of the map spans."""


class Ears(TransformerSize):
    """The audio transformer of a start, which is not trained here."""

    init: Init
    """Where its weights come from."""

    def size(self) -> EncoderSize:
        """Return its size."""
        return EncoderSize(**self.model_dump(exclude={"init"}), drop_path=0.0)


class Eyes(TransformerSize):
    """The video transformer of a start, which is not trained here."""

    stem: Literal["patches", "convolutions"] = "patches"
    """What makes tokens of pixels, as `model.video.stem` of a recognition recipe."""
    init: Init
    """Where its weights come from."""

    def size(self) -> VideoSize:
        """Return its size."""
        return VideoSize(**self.model_dump(exclude={"init"}), drop_path=0.0)

    @model_validator(mode="after")
    def _fits(self) -> Eyes:
        self.size()
        return self


class LocalizerModel(LocalizerSize):
    """The localizer's size, how it is trained, and its start."""

    kind: Literal["fnac", "start"] = "fnac"
    """FNAC, or two linear maps on what the recognition networks' start sees and hears, which stays as it is."""
    video: Eyes | None = None
    """The eyes of kind start, and their weights."""
    audio: Ears | None = None
    """The ears of kind start, and their weights."""
    mels: Mels = 128
    """Mel bands that the ears of kind start hear."""
    noise: NonNegative = 0.0
    """Standard deviation of noise on the standardised features of kind start, in training."""
    image_dropout: Share = 0.9
    """Dropout of image features before their projection."""
    audio_dropout: Share = 0.0
    """Dropout of the sound's feature before its projection."""
    norm: bool = False
    """Put a batch norm without weights before each projection; the released model has none."""
    frozen_trunks: bool = False
    """Train the two projections alone, on features computed once a clip; `init` must then name a trained start."""
    init: Init = None
    """The start: a recipe's run or a file of the whole localizer, or a timm model of the image network."""

    @property
    def keeps_trunks(self) -> bool:
        """Return True if the projections alone are trained."""
        return self.frozen_trunks or self.kind == "start"

    @model_validator(mode="after")
    def _start(self) -> LocalizerModel:
        parts = (self.video, self.audio)
        if self.kind == "start" and (None in parts or any(part is not None and part.init is None for part in parts)):
            raise ValueError("kind start stands on trained eyes and ears: give video and audio, each with init")
        if self.kind == "fnac" and parts != (None, None):
            raise ValueError("video and audio are of kind start: leave them out, or set kind to start")
        if self.init is not None and self.init.timm is not None and self.frozen_trunks:
            raise ValueError("init.timm starts the image network alone: with frozen_trunks name a recipe or a file")
        return self


class LocalizerInput(Section):
    """FNAC's image and sound: resize, random crop, spectrogram masks up to `mask_width` wide."""

    size: Pixels = 224
    """Side of the square picture, pixels."""
    resize: Pixels = 246
    """Short side that frames are read at, before a random crop of `size`, pixels."""
    seconds: Seconds = 3.0
    """Sound around the frame, s."""
    mask_width: MaskWidth = 10
    """Widest mask of the spectrogram, rows and columns."""

    @model_validator(mode="after")
    def _range(self) -> LocalizerInput:
        if self.resize < self.size:
            raise ValueError("resize must be at least size")
        return self


class LocalizerLosses(Section):
    """The contrastive loss alone for `contrastive_epochs`, then plus `weight` times each of the three L1 terms."""

    temperature: PositiveFloat = 0.03
    """Temperature of the contrastive loss."""
    foreground: Share = 0.6
    """Share of the map's maximum from which a cell counts as sounding, in the L1 terms."""
    contrastive_epochs: EpochCount = 5
    """First epochs, of the contrastive loss alone."""
    weight: NonNegative = 100.0
    """Weight of each L1 term; 0 leaves them out."""


class LocalizerEvaluate(Section):
    """Frames on which the map is evaluated, of the training's data set or another."""

    frames: Frames = 1
    """Frames with a box that are evaluated, spread over each clip."""
    batch: Batch = 32
    """Frames evaluated at once."""
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    """How maps are resized to the boxes' 224 pixels: bilinear with aligned corners, or bicubic without; FNAC's released
    test script prints both."""
    dataset: str | None = None
    """Another data set than the training's to evaluate on."""
    manifest: str | None = None
    """Its manifest, data/<dataset>/manifest.csv where left out."""

    @model_validator(mode="after")
    def _named(self) -> LocalizerEvaluate:
        if self.manifest is not None and self.dataset is None:
            raise ValueError("manifest without dataset: name the data set it is of too")
        return self


class LocalizationRecipe(TrainedRecipe):
    """Audio source localization (FNAC, or on a start), trained on pairs of image and sound without labels."""

    headline: ClassVar[str] = "inside"
    task: Literal["localization"]
    """Audio source localization."""
    data: TrainingData
    """Pairs of picture and sound."""
    model: LocalizerModel = LocalizerModel()
    """The network."""
    input: LocalizerInput = LocalizerInput()
    """What the network sees and hears."""
    losses: LocalizerLosses = LocalizerLosses()
    """The contrastive loss, and the L1 terms that follow it."""
    evaluate: LocalizerEvaluate = LocalizerEvaluate()
    """Frames that maps are evaluated on."""
    flip: Share = 0.5
    """Share of pictures that are mirrored."""
    train: ConvolutionTrain = ConvolutionTrain()
    """How long is trained, in what batches, and what is kept on the way."""

    @model_validator(mode="after")
    def _start(self) -> LocalizationRecipe:
        if self.model.frozen_trunks and self.model.init is None:
            raise ValueError("model.frozen_trunks keeps the networks as they start: give model.init a start")
        if self.model.kind == "start" and (faults := patch_faults(self.clip, self.sound, *self._sizes)):
            raise ValueError("; ".join(faults))
        return self

    @property
    def clip(self) -> ClipSize:
        """Return the single frame that is seen."""
        return ClipSize(frames=1, stride=1, size=self.input.size)

    @property
    def sound(self) -> Audio:
        """Return the log-mel that the ears of kind start hear."""
        return Audio(seconds=self.input.seconds, mels=self.model.mels)

    @property
    def _sizes(self) -> tuple[VideoSize | None, EncoderSize | None]:
        video, audio = self.model.video, self.model.audio
        return None if video is None else video.size(), None if audio is None else audio.size()

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found = super().idle()
        if self.model.frozen_trunks:
            found |= dict.fromkeys(("flip", "input.mask_width"), "model.frozen_trunks takes whole frames and sounds")
        if self.model.kind == "start":
            sizes = ("width", "stride", "image_dropout", "audio_dropout", "norm", "frozen_trunks", "init")
            keys = (*(f"model.{key}" for key in sizes), "losses", "flip", "input.mask_width", "train.channels_last")
            found |= dict.fromkeys(keys, "model.kind is start")
        else:
            found |= dict.fromkeys(("model.noise", "model.mels"), "model.kind is fnac") | self._idle_losses()
        return found

    def _idle_losses(self) -> dict[str, str]:
        """Return what the choice of FNAC's losses leaves without use."""
        if self.losses.weight == 0:
            return dict.fromkeys(("losses.foreground", "losses.contrastive_epochs"), "losses.weight is 0")
        if self.losses.contrastive_epochs >= self.train.epochs:
            why = "losses.contrastive_epochs are all epochs"
            return dict.fromkeys(("losses.foreground", "losses.weight"), why)
        return {}

    def data_sets(self) -> list[Data]:
        """Return the training's data set, and another one that maps are evaluated on."""
        return [self.data] if self.evaluate.dataset is None else [self.data, self.evaluation_data]

    def sources(self) -> list[OwnStart | Guide]:
        """Return the networks' start."""
        parts = (self.model, self.model.video, self.model.audio)
        found = [part.init for part in parts if part is not None]
        return [source for source in found if source is not None]

    @property
    def evaluation_data(self) -> TrainingData:
        """Return the data set that maps are evaluated on: the training's, or `evaluate.dataset`."""
        if self.evaluate.dataset is None:
            return self.data
        other: dict[str, object] = {"dataset": self.evaluate.dataset, "manifest": self.evaluate.manifest, "options": {}}
        return self.data.model_copy(update=other)
