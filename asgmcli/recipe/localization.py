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
    NonNegative,
    Pixels,
    PositiveFloat,
    Seconds,
    Share,
    Width,
)
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


class LocalizerModel(LocalizerSize):
    """FNAC's size, how it is trained, and its start."""

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

    @model_validator(mode="after")
    def _start(self) -> LocalizerModel:
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
    """Audio source localization (FNAC), trained on pairs of image and sound without labels."""

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
        return self

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found = super().idle()
        if self.model.frozen_trunks:
            found |= dict.fromkeys(("flip", "input.mask_width"), "model.frozen_trunks takes whole frames and sounds")
        if self.losses.weight == 0:
            found |= dict.fromkeys(("losses.foreground", "losses.contrastive_epochs"), "losses.weight is 0")
        elif self.losses.contrastive_epochs >= self.train.epochs:
            why = "losses.contrastive_epochs are all epochs"
            found |= dict.fromkeys(("losses.foreground", "losses.weight"), why)
        return found

    def data_sets(self) -> list[Data]:
        """Return the training's data set, and another one that maps are evaluated on."""
        return [self.data] if self.evaluate.dataset is None else [self.data, self.evaluation_data]

    def sources(self) -> list[OwnStart | Guide]:
        """Return the networks' start."""
        return [] if self.model.init is None else [self.model.init]

    @property
    def evaluation_data(self) -> TrainingData:
        """Return the data set that maps are evaluated on: the training's, or `evaluate.dataset`."""
        if self.evaluate.dataset is None:
            return self.data
        other: dict[str, object] = {"dataset": self.evaluate.dataset, "manifest": self.evaluate.manifest, "options": {}}
        return self.data.model_copy(update=other)
