"""The recipe of semi-supervised recognition."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import model_validator

from asgmcli.recipe.base import TrainedRecipe
from asgmcli.recipe.clips import Audio, Augment, Clip, RecognitionEvaluate
from asgmcli.recipe.losses import Losses, Masks, Thresholds
from asgmcli.recipe.networks import Model, patch_faults
from asgmcli.recipe.sections import Guide, LabeledSubset, MaskGuide, OwnStart
from asgmcli.recipe.training import SemiSupervised

STRONG = ("operations", "magnitude", "geometric", "channel_dropout", "channels", "temporal_warp", "warp_filler")
SOUND_MASKS = ("frequency_mask", "time_mask")
UNLABELED = (*STRONG, *SOUND_MASKS)
"""Keys of `augment` that only the views of unlabelled clips follow, where those of labelled ones are weak."""


class RecognitionRecipe(TrainedRecipe):
    """Semi-supervised recognition from picture and sound (the ASGM-Former, SVFormer and supervised rows)."""

    headline: ClassVar[str] = "top1"
    beside: ClassVar[tuple[str, ...]] = ("top1_student", "top1_teacher")
    task: Literal["recognition"]
    """Semi-supervised recognition from picture and sound."""
    data: LabeledSubset
    """Clips, and which of them count as labelled."""
    clip: Clip = Clip()
    """Frames of a clip."""
    audio: Audio = Audio()
    """Sound of a clip."""
    augment: Augment = Augment()
    """How views are changed for training."""
    model: Model = Model()
    """The network."""
    thresholds: Thresholds = Thresholds()
    """When the teacher's label is trusted."""
    masks: Masks = Masks()
    """Which tokens a mixture keeps."""
    localizer: MaskGuide | None = None
    """The localizer that guides masks of kind localization."""
    losses: Losses = Losses()
    """L = L_s + γ1 L_u + γ2 L_mix + γ3 L_c (Eq. 21)."""
    evaluate: RecognitionEvaluate = RecognitionEvaluate()
    """Views of a video that its evaluation averages."""
    train: SemiSupervised = SemiSupervised()
    """How long is trained, in what batches, and what is kept on the way."""

    @model_validator(mode="after")
    def _consistent(self) -> RecognitionRecipe:
        video, audio = self.model.video if self.sees else None, self.model.audio if self.listens else None
        faults = patch_faults(self.clip, self.audio, video, audio)
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
        if self.mixed and self.losses.mixup.target == "mass" and not self.guided:
            faults.append(
                "losses.mixup.target mass is measured on a localizer's maps: set masks.kind to localization, or the "
                "target to tokens or constant"
            )
        if self.mixed and self.losses.mixup.labels == "given" and self.data.unlabeled != "labeled":
            faults.append(
                "losses.mixup.labels given needs labels: set data.unlabeled to labeled, or losses.mixup.labels to soft"
            )
        if not (self.listens and self.sees) and self.train.unlabeled_ratio and self.losses.contrastive.weight > 0:
            missing = "sound" if self.sees else "the picture"
            faults.append(f"losses.contrastive.weight needs {missing}: set it to 0, or model.modality to video+audio")
        tubelet, groups = self.model.video.tubelet, self.masks.average_frames
        if self.sees and self.clip.frames % tubelet == 0 and self.clip.frames // tubelet % groups:
            tokens = f" / model.video.tubelet {tubelet}" if tubelet > 1 else ""
            faults.append(f"masks.average_frames {groups} does not divide clip.frames {self.clip.frames}{tokens}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found = super().idle()

        def add(why: str, *keys: str) -> None:
            for key in keys:
                found.setdefault(key, why)

        if self.data.labeled_per_class is None:
            add("data.labeled_per_class is null", "data.split_seed")
        if not self.listens:
            heard = (*(f"augment.{key}" for key in SOUND_MASKS), "localizer.sound")
            add("model.modality is video", "audio", "model.audio", "model.fusion", *heard)
        if not self.sees:
            pictures = ("clip.size", "clip.short_side", "clip.backend", "evaluate.crops", "augment.flip")
            views = (*(f"augment.{key}" for key in STRONG), "augment.weak_flip")
            add("model.modality is audio", "model.video", "model.fusion", "model.mean", "model.std", *pictures, *views)
            if self.mixed:
                kinds = ("kind", "average_frames", "sharpness", "placebo", "maps")
                add("model.modality is audio", *(f"masks.{key}" for key in kinds), "localizer")
        self._idle_without_unlabeled(add)
        self._idle_beside_losses(add)
        self._idle_of_mixtures(add)
        self._idle_of_views(add)
        if self.guide in ("motion", "oracle"):
            unused = (f"localizer.{key}" for key in ("map", "seconds", "picture", "sound"))
            add(f"localizer.kind is {self.guide}", *unused, "augment.geometric")
        if self.guide == "start":
            add("localizer.kind is start", "localizer.sound")
        if self.guide != "fnac":
            add("no FNAC guides masks", "train.channels_last")
        return found

    def _idle_without_unlabeled(self, add: Callable[..., None]) -> None:
        """Add what has no use where no unlabelled clip is trained on, or no epoch without them."""
        views = UNLABELED if self.augment.labeled == "weak" else ()
        unused = ("thresholds", *(f"augment.{key}" for key in (*views, "weak_flip")))
        unused = (*unused, "train.supervised_epochs", "train.teacher")
        if not self.train.unlabeled_ratio:
            add("train.unlabeled_ratio is 0", "masks", "localizer", "losses", "data.unlabeled", *unused)
        elif not self.semi_supervised:
            # Where an epoch sees every clip, the ratio is not idle: it decides with them how long that takes.
            ratio = ("train.unlabeled_ratio", "data.unlabeled") if self.train.epoch == "labeled" else ()
            add("no loss of unlabelled clips has a weight", *unused, *ratio)
        elif self.train.supervised_epochs == 0:
            add("train.supervised_epochs is 0", "train.teacher")

    def _idle_of_views(self, add: Callable[..., None]) -> None:
        """Add what changes in views leave without use."""
        augment = self.augment
        if augment.operations == 0:
            add("augment.operations is 0", "augment.magnitude", "augment.geometric")
        if augment.channel_dropout == 0:
            add("augment.channel_dropout is 0", "augment.channels", "localizer.picture")
        if not augment.temporal_warp:
            add("augment.temporal_warp is false", "augment.warp_filler")
        if augment.frequency_mask == augment.time_mask == 0:
            add("augment.frequency_mask and augment.time_mask are 0", "localizer.sound")
        changes_picture = self.sees and max(augment.operations, augment.channel_dropout) > 0
        if not changes_picture and not (self.listens and max(augment.frequency_mask, augment.time_mask)):
            add("strong views are weak ones", "augment.labeled")

    def _idle_beside_losses(self, add: Callable[..., None]) -> None:
        """Add what the choice of losses, thresholds and masks leaves without use."""
        losses = self.losses
        if max(losses.unlabeled.weight, losses.mixup.weight) == 0:
            add("losses.unlabeled.weight and losses.mixup.weight are 0", "thresholds")
        if losses.unlabeled.weight == 0:
            add("losses.unlabeled.weight is 0", "losses.unlabeled.labels", "losses.unlabeled.temperature")
        if losses.unlabeled.labels == "sharp":
            add("losses.unlabeled.labels is sharp", "losses.unlabeled.temperature")
        if losses.contrastive.weight == 0:
            add("losses.contrastive.weight is 0", "losses.contrastive.temperature", "losses.contrastive.clips")
        if self.thresholds.kind != "flexible":
            add(f"thresholds.kind is {self.thresholds.kind}", "thresholds.mapping", "thresholds.warmup")
        if self.thresholds.kind == "none" and not (self.mixed and losses.mixup.mask == "mixture"):
            add("thresholds.kind is none", "thresholds.value")

    def _idle_of_mixtures(self, add: Callable[..., None]) -> None:
        """Add what mixtures leave without use, or where there are none."""
        losses = self.losses
        if losses.mixup.labels == "given":
            add("losses.mixup.labels is given", "losses.mixup.mask")
            if losses.unlabeled.weight == 0:
                add("losses.unlabeled.weight is 0 and the mixtures' labels are given", "thresholds")
        if not self.mixed:
            add("losses.mixup.weight is 0", "losses.contrastive.clips")
            unused = (f"losses.mixup.{key}" for key in ("space", "target", "constant", "labels", "mask"))
            add(
                "losses.mixup.weight is 0",
                "masks",
                "localizer",
                *unused,
                "augment.temporal_warp",
                "augment.warp_filler",
            )
        elif not self.guided:
            unused = (f"masks.{key}" for key in ("average_frames", "sharpness", "placebo", "maps"))
            add(f"masks.kind is {self.masks.kind}", "localizer", *unused)
        if losses.mixup.target != "constant":
            add(f"losses.mixup.target is {losses.mixup.target}", "losses.mixup.constant")

    @property
    def saves_memory(self) -> bool:
        """Return True if memory is to be saved at the cost of time."""
        return self.train.activation_checkpointing or self.train.accumulate > 1

    def sources(self) -> list[OwnStart | Guide]:
        """Return the encoders' starts, and the localizer where it guides masks."""
        found = [self.model.video.init if self.sees else None, self.model.audio.init if self.listens else None]
        return [source for source in (*found, self.localizer if self.guided else None) if source is not None]

    def prepares(self) -> str:
        """Name the motion maps where they guide masks."""
        return "motion maps" if self.moved else ""

    def of_whom(self) -> str:
        """Say whose `top1` is, and the paper's number with it."""
        judged = self.evaluate.network
        return f"top1 and the paper's number: the {judged}'s." if self._printed else f"top1: the {judged}'s."

    @property
    def _printed(self) -> bool:
        return any(row.paper for row in self.rows.values())

    def size_key(self) -> str:
        """Return what decides the sizes: thresholds, masks and weights of losses do not, but what is left out does."""
        parts = self.model_dump_json(include={"model", "clip", "audio", "train"})
        return f"{self.semi_supervised} {self.mixed} {parts}"

    @property
    def listens(self) -> bool:
        """Return True if the network takes sound."""
        return self.model.modality != "video"

    @property
    def sees(self) -> bool:
        """Return True if the network takes the picture."""
        return self.model.modality != "audio"

    @property
    def semi_supervised(self) -> bool:
        """Return True if any term of the loss looks at unlabelled clips."""
        weights = (self.losses.unlabeled.weight, self.losses.mixup.weight, self.losses.contrastive.weight)
        return self.train.unlabeled_ratio > 0 and max(weights) > 0

    @property
    def mixed(self) -> bool:
        """Return True if clips are mixed."""
        return self.semi_supervised and self.losses.mixup.weight > 0

    @property
    def whole_partner(self) -> bool:
        """Return True if a mixture's second clip shows channels that the strong view has lost."""
        return self.mixed and self.sees and self.augment.channels == "each" and self.augment.channel_dropout > 0

    @property
    def guided(self) -> bool:
        """Return True if the mixture's mask follows a localizer's map."""
        return self.mixed and self.sees and self.masks.kind == "localization"

    @property
    def guide(self) -> str | None:
        """Return the kind of that localizer, None without one."""
        return self.localizer.kind if self.guided and self.localizer is not None else None

    @property
    def guide_network(self) -> MaskGuide | None:
        """Return that localizer where it is a network."""
        guide = self.localizer if self.guided else None
        return guide if guide is not None and guide.trained else None

    @property
    def moved(self) -> bool:
        """Return True if that map is the motion localizer's, made before training."""
        return self.guide == "motion"
