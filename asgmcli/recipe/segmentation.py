"""The recipe of audio-visual segmentation: TPAVI and AVSegFormer, alone or with unlabelled frames (UFE)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from asgmcli.recipe.base import Best, TrainedRecipe
from asgmcli.recipe.bounds import (
    Batch,
    Count,
    Depth,
    EpochCount,
    Frames,
    NonNegative,
    Pixels,
    Positive,
    PositiveFloat,
    PositiveShare,
    Ratio,
    Share,
    Width,
)
from asgmcli.recipe.sections import Guide, Init, JudgedData, OwnStart, Section, Split, Start
from asgmcli.recipe.training import ValidatedTrain

STRIDE = 32  # pixels of the coarsest stage's cell


class SegmentationData(JudgedData):
    """A data set of frames with masks, which of them count as labelled, and which are trained on without."""

    val_split: Split = "val"
    """Split that every epoch is validated on (`train.keep: best`)."""
    labeled_share: PositiveShare = 1.0
    """Share of the training clips whose masks are used, drawn in each category."""
    split_seed: int | None = None
    """Seed of that draw, the run's where left out."""
    labeled_frames: Literal["first", "all"] = "first"
    """Masks of a labelled clip that are used: its first, or all that it has."""
    unlabeled: Literal["rest", "same_clips"] = "rest"
    """Frames that are trained on without a mask: all others of the training split, or of the labelled clips alone."""


class WeightFile(Section):
    """A weight file."""

    file: str
    """Weight file."""


class ImageWeights(Section):
    """Weights of an image network: a file, or a timm model's."""

    file: str | None = None
    """Weight file."""
    timm: str | None = None
    """Name of a timm model, fetched where weights/ does not hold it."""

    @model_validator(mode="after")
    def _one(self) -> ImageWeights:
        if (self.file is None) == (self.timm is None):
            raise ValueError("name exactly one of file, timm (or write `init: null`)")
        return self


class SegmentationAudio(Section):
    """The network that makes a vector of a second of sound."""

    kind: Literal["vggish", "ear", "none"] = "vggish"
    """VGGish's 128 numbers; `ear`, 192 numbers of the log-mel itself; `none`, zeros: the network hears nothing."""
    init: WeightFile | None = None
    """VGGish's weight file; weights/vggish-10086976.pth where left out."""
    last_relu: bool = True
    """Put a ReLU behind VGGish's last layer, as the released PyTorch network has."""


class SegmentationModel(Section):
    """TPAVI's network, or AVSegFormer."""

    kind: Literal["tpavi", "avsegformer"] = "tpavi"
    """TPAVI (every stage's pixels meet the clip's sound), or AVSegFormer (queries from the sound)."""
    backbone: Literal["resnet18", "resnet50", "pvt_v2_b5"] = "resnet50"
    """Image network."""
    width: Width = 64
    """Channels of the first stage of backbone resnet18, and of the flow's ResNet-18."""
    channels: Width = 256
    """Channels of every stage after the backbone."""
    queries: Positive = 300
    """Queries that the sound makes."""
    layers: Depth = 6
    """Layers of each of its three stacks: query generator, encoder, decoder."""
    ffn: Width = 2048
    """Hidden channels of encoder and decoder; the query generator has them up to 1024."""
    mask_hidden: Width = 2048
    """Hidden channels of the network from the queries' maps to the mask feature."""
    query_bias: bool = True
    """Give the query generator's attentions biases, as UFE's release; AVSegFormer's own has none."""
    init: Init = None
    """The start: the backbone's weights (timm, file), or those of the whole network (recipe)."""


class SegmentationFlow(Section):
    """The optical flow and its encoder."""

    encoder: Literal["none", "stem", "pyramid"] = "none"
    """Not at all; one fine map for all stages; or a map a stage."""
    init: ImageWeights | None = None
    """ImageNet weights of its ResNet-18, but for the first convolution."""
    padding: Share = 0.5
    """Flow of pixels outside of the picture; 0.5 is no motion, the released code has 0."""


class SegmentationInput(Section):
    """The frames that the network sees."""

    size: Pixels = 224
    """Side of the square frames, pixels; a multiple of 32."""

    @model_validator(mode="after")
    def _multiple(self) -> SegmentationInput:
        if self.size % STRIDE:
            raise ValueError(f"size {self.size} is not a multiple of {STRIDE}")
        return self


class SegmentationAugment(Section):
    """Weak views: resized, padded or cropped, mirrored. Strong views: the same with other colours and blur."""

    resize: tuple[PositiveFloat, PositiveFloat] = Field((0.5, 2.0), strict=False)
    """Range of a view's scale."""
    flip: Share = 0.5
    """Share of views that are mirrored."""
    flow: Literal["physical", "reference"] = "physical"
    """Change flow with the picture: longer where that is larger, negated where it is mirrored; or leave it."""
    padding: Literal["ignore", "reference"] = "ignore"
    """Leave pixels outside of the picture out of every loss, or count them: labelled ones as sounding, as released."""

    @model_validator(mode="after")
    def _range(self) -> SegmentationAugment:
        if self.resize[0] > self.resize[1]:
            raise ValueError("resize is [low, high] with low <= high")
        return self


class CutMix(Section):
    """A box of another unlabelled frame, its flow and its mask, put into a strong view."""

    probability: Share = 0.5
    """Share of strong views that get one."""
    sound: Literal["own", "both"] = "own"
    """Sound of a view with a box: its own, or the mean of both frames'."""


class MaskLoss(Section):
    """The loss of a mask."""

    bce: NonNegative = 1.0
    """Weight of the binary cross-entropy of every pixel (TPAVI)."""
    dice: NonNegative = 0.0
    """Weight of the Dice loss of every frame (AVSegFormer)."""
    squared: bool = True
    """Square the Dice loss's denominator, as released; false is as printed."""

    @model_validator(mode="after")
    def _one(self) -> MaskLoss:
        if self.bce == self.dice == 0:
            raise ValueError("bce and dice are both 0: no loss is left")
        return self


class MatchLoss(Section):
    """Audio-visual matching of TPAVI's maps with the sound."""

    kind: Literal["cosine", "kl"] = "cosine"
    """Of one source, or of several."""
    weight: NonNegative = 0.5
    """On labelled frames (λ₁ of Eq. 3); 0 leaves it out."""
    unlabeled_weight: NonNegative = 0.0
    """On strong views."""
    frames: Positive = 1
    """Times the mean over frames: the released sum of `kl` over a batch of so many."""


class FeatureLoss(Section):
    """The mask loss of the channel mean of AVSegFormer's mask feature."""

    weight: NonNegative = 0.1
    """Its weight (Eq. 4)."""


class UnlabeledMaskLoss(Section):
    """The loss of strong views against the teacher's soft masks."""

    weight: NonNegative = 0.5
    """λ of Eq. 7; 0 takes no unlabelled frames."""


class SegmentationLosses(Section):
    """L = L_sup + λ L_unsup (Eq. 7)."""

    mask: MaskLoss = MaskLoss()
    """The loss of a mask."""
    match: MatchLoss = MatchLoss()
    """Audio-visual matching."""
    feature: FeatureLoss = FeatureLoss()
    """The loss of the mask feature."""
    unlabeled: UnlabeledMaskLoss = UnlabeledMaskLoss()
    """The loss of unlabelled frames."""


class Teacher(Section):
    """The network that masks unlabelled frames."""

    mode: Literal["eval", "train"] = "eval"
    """Norms of its forward pass; under `train` a view's own mask is made with the batch's, as released."""


class SegmentationTrain(ValidatedTrain):
    """Training on labelled frames and unlabelled ones."""

    frames: Frames = 1
    """Frames of a sample: 1, or so many neighbours of a clip together."""
    unlabeled_ratio: Ratio = 1
    """Unlabelled samples a labelled one in each step; 0 trains on labelled ones alone."""
    supervised_epochs: EpochCount = 10
    """First epochs (burn-in), which see labelled frames alone."""
    ema_decay: Share = 0.0
    """Share of its own weights that the teacher keeps in each step; 0: it is the student itself."""
    freeze_epochs: EpochCount = 0
    """First epochs, in which the backbone is not trained."""
    accumulate: Batch = 1
    """Save memory: parts that a batch goes through the network in; its batch norms then see less."""


class SegmentationEvaluate(Section):
    """The evaluation of masks."""

    frames: Frames = 5
    """Neighbouring frames of a clip that go through the network together."""
    group: Positive = 1
    """Videos whose curves are averaged before F's best threshold is taken; F depends on it."""
    batch: Batch = 4
    """Clips judged at once."""


class SegmentationPredict(Section):
    """The masks that a clip is answered with."""

    fps: PositiveFloat = 4.0
    """Masks a second."""
    threshold: Share = 0.5
    """Probability from which a pixel sounds."""
    frames_together: Frames = 5
    """Frames, a second apart around the one that is masked, that TPAVI sees together."""
    probabilities: bool = False
    """Keep the probabilities beside the masks, and in _masks.npz."""
    strip: Count = 8
    """Moments in _strip.png."""


class SegmentationRecipe(TrainedRecipe):
    """Audio-visual segmentation, from labelled frames alone or with unlabelled ones."""

    headline: ClassVar[str] = "miou"
    best: ClassVar[Best | None] = Best(("miou",))
    task: Literal["segmentation"]
    """Audio-visual segmentation."""
    data: SegmentationData
    """Frames, which of them are labelled."""
    input: SegmentationInput = SegmentationInput()
    """What the network sees."""
    audio: SegmentationAudio = SegmentationAudio()
    """What the network hears."""
    model: SegmentationModel = SegmentationModel()
    """The network."""
    flow: SegmentationFlow = SegmentationFlow()
    """Neighbouring frames."""
    augment: SegmentationAugment = SegmentationAugment()
    """Weak and strong views."""
    cutmix: CutMix = CutMix()
    """What is mixed into strong views."""
    losses: SegmentationLosses = SegmentationLosses()
    """Loss terms."""
    teacher: Teacher = Teacher()
    """The network that masks unlabelled frames."""
    evaluate: SegmentationEvaluate = SegmentationEvaluate()
    """How masks are judged."""
    predict: SegmentationPredict = SegmentationPredict()
    """How a clip is masked."""
    train: SegmentationTrain = SegmentationTrain()
    """How long is trained, in what batches, and what is kept on the way."""

    @model_validator(mode="after")
    def _fits(self) -> SegmentationRecipe:
        model = self.model
        if model.kind == "avsegformer" and (model.channels % 32 or self.flow.encoder == "pyramid"):
            raise ValueError("avsegformer takes model.channels in multiples of 32 and flow.encoder none or stem")
        if model.kind == "tpavi" and model.channels % 2:
            raise ValueError("tpavi takes an even number of model.channels")
        if (
            model.init is not None
            and model.init.timm is not None
            and model.backbone == "resnet18"
            and model.width != 64
        ):
            raise ValueError("timm's resnet18 is 64 wide: leave model.width out, or start otherwise")
        return self

    @property
    def semi_supervised(self) -> bool:
        """Return True if unlabelled frames are trained on."""
        return self.train.unlabeled_ratio > 0 and self.losses.unlabeled.weight > 0 and self.burn_in < self.train.epochs

    @property
    def burn_in(self) -> int:
        """Return the first epochs that see labelled frames alone."""
        return self.train.supervised_epochs

    @property
    def reads_flow(self) -> bool:
        """Return True if the network reads optical flow."""
        return self.flow.encoder != "none"

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found = super().idle()
        if self.model.kind == "tpavi":
            names = ("queries", "layers", "ffn", "mask_hidden", "query_bias")
            found |= {f"model.{name}": "model.kind is tpavi" for name in names} | {
                "losses.feature": "model.kind is tpavi"
            }
        else:
            found |= dict.fromkeys(("losses.match", "predict.frames_together"), "model.kind is avsegformer")
        if self.model.backbone != "resnet18" and not self.reads_flow:
            found["model.width"] = f"model.backbone is {self.model.backbone}, and flow.encoder is none"
        if self.audio.kind != "vggish":
            found |= dict.fromkeys(("audio.init", "audio.last_relu"), f"audio.kind is {self.audio.kind}")
        if not self.reads_flow:
            found |= dict.fromkeys(("flow.init", "flow.padding", "augment.flow"), "flow.encoder is none")
        if self.data.labeled_share == 1:
            found |= {"data.split_seed": "data.labeled_share is 1"}
        return found | self._idle_losses() | self._idle_unlabeled()

    def _idle_losses(self) -> dict[str, str]:
        found = {}
        if self.losses.mask.dice == 0 and not (self.model.kind == "avsegformer" and self.losses.feature.weight):
            found["losses.mask.squared"] = "losses.mask.dice is 0"
        match = self.losses.match
        if (
            self.model.kind == "tpavi"
            and match.weight == 0
            and (match.unlabeled_weight == 0 or not self.semi_supervised)
        ):
            found |= dict.fromkeys(("losses.match.kind", "losses.match.frames"), "losses.match.weight is 0")
        if self.train.keep == "last":
            found["data.val_split"] = "train.keep is last"
        if self.augment.resize[0] >= 1:
            found |= dict.fromkeys(("augment.padding", "flow.padding"), "augment.resize never makes a picture smaller")
        return found

    def _idle_unlabeled(self) -> dict[str, str]:
        if self.semi_supervised:
            return {"cutmix.sound": "cutmix.probability is 0"} if self.cutmix.probability == 0 else {}
        keys = ["cutmix", "teacher", "data.unlabeled", "train.ema_decay", "losses.match.unlabeled_weight"]
        if self.train.unlabeled_ratio == 0 or self.losses.unlabeled.weight == 0:
            why = "train.unlabeled_ratio is 0" if self.train.unlabeled_ratio == 0 else "losses.unlabeled.weight is 0"
            keys += ["train.supervised_epochs"]
            keys += ["losses.unlabeled" if self.train.unlabeled_ratio == 0 else "train.unlabeled_ratio"]
        else:
            why = "train.supervised_epochs are all epochs"
            keys += ["losses.unlabeled", "train.unlabeled_ratio"]
        return dict.fromkeys(keys, why)

    def sources(self) -> list[OwnStart | Guide]:
        """Return the networks' starts."""
        found: list[OwnStart | Guide] = [] if self.model.init is None else [self.model.init]
        if self.flow.init is not None:
            found.append(Start(file=self.flow.init.file, timm=self.flow.init.timm))
        if self.audio.init is not None:
            found.append(Start(file=self.audio.init.file))
        return found

    def prepares(self) -> str:
        """Name the sound's embeddings."""
        return "" if self.audio.kind == "none" else f"{self.audio.kind} embeddings of {self.data.dataset}"
