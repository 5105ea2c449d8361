"""The recipe of semi-supervised recognition."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from asgmcli.recipe.base import OPTIONS, Recipe
from asgmcli.recipe.losses import Losses
from asgmcli.recipe.sections import (
    Audio,
    Augment,
    Clip,
    Data,
    Evaluate,
    Guide,
    Masks,
    Model,
    Start,
    Thresholds,
    patch_faults,
)


class RecognitionRecipe(Recipe):
    """Semi-supervised recognition from picture and sound (the ASGM-Former, SVFormer and supervised rows)."""

    honoured: ClassVar[tuple[str, ...]] = OPTIONS
    headline: ClassVar[str] = "top1"
    task: Literal["recognition"]
    data: Data
    clip: Clip = Clip()
    audio: Audio = Audio()
    augment: Augment = Augment()
    model: Model = Model()
    thresholds: Thresholds = Thresholds()
    masks: Masks = Masks()
    localizer: Guide | None = None
    losses: Losses = Losses()
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def _consistent(self) -> RecognitionRecipe:
        faults = patch_faults(self.clip, self.audio, self.model.video, self.model.audio if self.listens else None)
        if self.semi_supervised and self.train.supervised_epochs >= self.train.epochs:
            faults.append(
                f"train.supervised_epochs {self.train.supervised_epochs} leaves none of train.epochs "
                f"{self.train.epochs} for the unlabelled clips: lower the one or raise the other"
            )
        if self.guided and self.localizer is None:
            faults.append(
                "masks.kind localization needs a localizer: add `localizer: {recipe: ...}`, or {file: ...}, "
                "or {kind: motion}, which needs no training"
            )
        if self.mixed and self.losses.mixup.target == "mass" and self.masks.kind != "localization":
            faults.append(
                "losses.mixup.target mass is measured on a localizer's maps: set masks.kind to localization, or the "
                "target to tokens or constant"
            )
        if self.model.modality == "video" and self.losses.contrastive.weight > 0:
            faults.append("losses.contrastive.weight needs sound: set it to 0, or model.modality to video+audio")
        tubelet, groups = self.model.video.tubelet, self.masks.average_frames
        if self.clip.frames % tubelet == 0 and self.clip.frames // tubelet % groups:
            tokens = f" / model.video.tubelet {tubelet}" if tubelet > 1 else ""
            faults.append(f"masks.average_frames {groups} does not divide clip.frames {self.clip.frames}{tokens}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def data_sets(self) -> list[Data]:
        """Return the one data set."""
        return [self.data]

    def sources(self) -> list[Start | Guide]:
        """Return the encoders' starts, and the localizer where it guides masks."""
        found = [self.model.video.init, self.model.audio.init if self.listens else None]
        return [source for source in (*found, self.localizer if self.guided else None) if source is not None]

    def prepares(self) -> str:
        """Name the motion maps where they guide masks."""
        return "motion maps" if self.moved else ""

    def size_key(self) -> str:
        """Return what decides the sizes: thresholds, masks and weights of losses do not, but what is left out does."""
        parts = self.model_dump_json(include={"model", "clip", "audio", "train"})
        return f"{self.semi_supervised} {self.mixed} {parts}"

    @property
    def listens(self) -> bool:
        """Whether the network takes sound."""
        return self.model.modality == "video+audio"

    @property
    def semi_supervised(self) -> bool:
        """Whether any term of the loss looks at unlabelled clips."""
        weights = (self.losses.unlabeled.weight, self.losses.mixup.weight, self.losses.contrastive.weight)
        return self.train.unlabeled_ratio > 0 and max(weights) > 0

    @property
    def mixed(self) -> bool:
        """Whether clips are mixed."""
        return self.semi_supervised and self.losses.mixup.weight > 0

    @property
    def guided(self) -> bool:
        """Whether the mixture's mask follows a localizer's map."""
        return self.mixed and self.masks.kind == "localization"

    @property
    def guide(self) -> str | None:
        """The kind of that localizer, None without one."""
        return self.localizer.kind if self.guided and self.localizer is not None else None

    @property
    def moved(self) -> bool:
        """Whether that map is the motion localizer's, made before training."""
        return self.guide == "motion"
