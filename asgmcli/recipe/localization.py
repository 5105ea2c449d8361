"""The recipe of audio source localization."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from asgmcli.recipe.base import Recipe
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
from asgmcli.recipe.sections import Data, Guide, Init, Section, Start


class LocalizerModel(Section):
    """FNAC's size: width 64 and stride 32 are ResNet-18; smaller ones suit small clips.

    `norm` puts a batch norm without weights before each projection (the released model has none). `frozen_trunks`
    trains the two projections alone, on features that are computed once a clip: for data sets too small to train the
    networks on, whose start must then come from elsewhere. `init: {timm: resnet18.tv_in1k}` starts the image network
    from ImageNet, as released; a recipe or a file starts the whole localizer.
    """

    dim: Width = 512
    width: Width = 64
    stride: Literal[8, 16, 32] = 32
    image_dropout: Share = 0.9
    audio_dropout: Share = 0.0
    norm: bool = False
    frozen_trunks: bool = False
    init: Init = None

    @model_validator(mode="after")
    def _start(self) -> LocalizerModel:
        if self.init is not None and self.init.timm is not None and self.frozen_trunks:
            raise ValueError("init.timm starts the image network alone: with frozen_trunks name a recipe or a file")
        return self


class LocalizerInput(Section):
    """FNAC's image and sound: resize, random crop, spectrogram masks up to `mask_width` wide."""

    size: Pixels = 224
    resize: Pixels = 246
    seconds: Seconds = 3.0
    mask_width: MaskWidth = 10

    @model_validator(mode="after")
    def _range(self) -> LocalizerInput:
        if self.resize < self.size:
            raise ValueError("resize must be at least size")
        return self


class LocalizerLosses(Section):
    """The contrastive loss alone for `contrastive_epochs`, then plus `weight` times each of the three L1 terms."""

    temperature: PositiveFloat = 0.03
    foreground: Share = 0.6
    contrastive_epochs: EpochCount = 5
    weight: NonNegative = 100.0


class LocalizerEvaluate(Section):
    """Frames a clip, spread over it, on which the map is judged (where every frame has a box).

    `dataset` judges on another data set than that of the training, whose manifest is data/<dataset>/manifest.csv or
    `manifest`.
    """

    frames: Frames = 1
    batch: Batch = 32
    dataset: str | None = None
    manifest: str | None = None

    @model_validator(mode="after")
    def _named(self) -> LocalizerEvaluate:
        if self.manifest is not None and self.dataset is None:
            raise ValueError("manifest without dataset: name the data set it is of too")
        return self


class LocalizationRecipe(Recipe):
    """Audio source localization (FNAC), trained on pairs of image and sound without labels."""

    honoured: ClassVar[tuple[str, ...]] = ("channels_last",)
    headline: ClassVar[str] = "inside"
    task: Literal["localization"]
    data: Data
    model: LocalizerModel = LocalizerModel()
    input: LocalizerInput = LocalizerInput()
    losses: LocalizerLosses = LocalizerLosses()
    evaluate: LocalizerEvaluate = LocalizerEvaluate()
    flip: Share = 0.5

    @model_validator(mode="after")
    def _start(self) -> LocalizationRecipe:
        if self.model.frozen_trunks and self.model.init is None:
            raise ValueError("model.frozen_trunks keeps the networks as they start: give model.init a start")
        return self

    def data_sets(self) -> list[Data]:
        """Return the training's data set, and another one that maps are judged on."""
        return [self.data] if self.evaluate.dataset is None else [self.data, self.evaluation_data]

    def sources(self) -> list[Start | Guide]:
        """Return the networks' start."""
        return [] if self.model.init is None else [self.model.init]

    @property
    def evaluation_data(self) -> Data:
        """The data set that maps are judged on: the training's, or `evaluate.dataset`."""
        if self.evaluate.dataset is None:
            return self.data
        other: dict[str, Any] = {"dataset": self.evaluate.dataset, "manifest": self.evaluate.manifest, "options": {}}
        return self.data.model_copy(update=other)
