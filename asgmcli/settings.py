"""What the recipe of each task may say: which sections it is made of, and what must hold between them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from asgmcli.sections import (
    ALL_ROWS,
    Audio,
    Augment,
    Clip,
    Compare,
    Count,
    Data,
    Encoder,
    Evaluate,
    Guide,
    Init,
    Log,
    Losses,
    Masks,
    Model,
    Name,
    NonNegative,
    Positive,
    PositiveFloat,
    PositiveShare,
    Section,
    Share,
    Split,
    Thresholds,
    Train,
    VideoEncoder,
    with_seed,
)


class Row(Section):
    """One line of the paper's table: dotted keys it overrides, and the number the paper prints.

    `curve` names the line of the figure that the row is a point of. A row that is `cited` says from where: it stands in
    the table with the paper's number alone and cannot be run.
    """

    title: str
    set: dict[str, Any] = Field(default_factory=dict)
    paper: dict[str, float] = Field(default_factory=dict)
    curve: str = ""
    cited: str = ""

    @model_validator(mode="after")
    def _cited(self) -> Row:
        if self.cited and (self.set or not self.paper):
            raise ValueError("a row that is cited has a number of the paper's, and nothing to set")
        return self


class Curves(Section):
    """A figure whose points are the rows: what was measured over the value of `key` in each row's settings."""

    key: str
    label: str
    scale: Literal["linear", "log"] = "linear"


# Keys of `train` that only some tasks know how to follow; `honoured` names those.
OPTIONS = ("activation_checkpointing", "accumulate", "compile", "channels_last")


class Recipe(Section):
    """What every recipe has: a name, a task, its variants as rows."""

    honoured: ClassVar[tuple[str, ...]] = ()
    name: Name
    task: str
    title: str
    about: str = ""
    cost: str = ""
    default_row: str
    rows: dict[Name, Row]
    figure: Curves | None = None
    compare: Compare | None = None
    train: Train = Train()
    log: Log = Log()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="before")
    @classmethod
    def _seed_of_the_run(cls, values: Any) -> Any:
        """Every `seed: run` in the sections is the recipe's own seed."""
        return with_seed(values, values.get("seed", 0)) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _default(self) -> Recipe:
        if self.default_row not in self.rows:
            raise ValueError(f"default_row {self.default_row!r} is none of the rows: {', '.join(self.rows)}")
        if cited := self.rows[self.default_row].cited:
            others = ", ".join(self.runnable)
            raise ValueError(f"row {self.default_row!r} cannot be run, it is cited: {cited}. Rows to run: {others}")
        if ALL_ROWS in self.rows:
            raise ValueError(f"a row cannot be named {ALL_ROWS!r}: `--row {ALL_ROWS}` trains every row")
        if loose := [name for name in self.runnable if bool(self.rows[name].curve) != (self.figure is not None)]:
            raise ValueError(f"`figure` and the rows' `curve` go together: rows {', '.join(loose)}")
        default = Train()
        for key in OPTIONS:
            if key not in self.honoured and getattr(self.train, key) != getattr(default, key):
                raise ValueError(f"train.{key} does nothing in a {self.task} recipe: leave it out")
        known = [row.curve for row in self.rows.values()] if self.figure is not None else list(self.runnable)
        if unknown := [name for name in (self.compare.to if self.compare is not None else ()) if name not in known]:
            what = "row that can be run" if self.figure is None else "row's curve"
            raise ValueError(f"compare.to: {', '.join(unknown)}: no {what}")
        return self

    @property
    def runnable(self) -> dict[str, Row]:
        """The rows that can be run: all but those that are cited."""
        return {name: row for name, row in self.rows.items() if not row.cited}


class RecognitionRecipe(Recipe):
    """Semi-supervised recognition from picture and sound (the ASGM-Former, SVFormer and supervised rows)."""

    honoured: ClassVar[tuple[str, ...]] = OPTIONS
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


def patch_faults(clip: Clip, audio: Audio, video: VideoEncoder, sound: Encoder | None) -> list[str]:
    """What is wrong with patches that do not tile the frames or the log-mel image; `sound` None: no sound."""
    faults = []
    if clip.size % video.patch_size:
        faults.append(f"clip.size {clip.size} is not a multiple of model.video.patch_size {video.patch_size}")
    if clip.size == video.patch_size:
        faults.append(f"clip.size {clip.size} is a single patch: mixing needs at least two tokens a frame")
    if clip.frames % video.tubelet:
        faults.append(f"clip.frames {clip.frames} is not a multiple of model.video.tubelet {video.tubelet}")
    if sound is not None and audio.mels % sound.patch_size:
        faults.append(f"audio.mels {audio.mels} is not a multiple of model.audio.patch_size {sound.patch_size}")
    if sound is not None and audio.length % sound.patch_size:
        faults.append(
            f"audio.seconds {audio.seconds:g} gives {audio.length} time steps, not a multiple of "
            f"model.audio.patch_size {sound.patch_size}"
        )
    return faults


class LocalizerModel(Section):
    """FNAC's size: width 64 and stride 32 are ResNet-18; smaller ones suit small clips.

    `norm` puts a batch norm without weights before each projection (the released model has none). `frozen_trunks`
    trains the two projections alone, on features that are computed once a clip: for data sets too small to train the
    networks on, whose start must then come from elsewhere. `init: {timm: resnet18.tv_in1k}` starts the image network
    from ImageNet, as released; a recipe or a file starts the whole localizer.
    """

    dim: Positive = 512
    width: Positive = 64
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

    size: Positive = 224
    resize: Positive = 246
    seconds: PositiveFloat = 3.0
    mask_width: Count = 10

    @model_validator(mode="after")
    def _range(self) -> LocalizerInput:
        if self.resize < self.size:
            raise ValueError("resize must be at least size")
        return self


class LocalizerLosses(Section):
    """The contrastive loss alone for `contrastive_epochs`, then plus `weight` times each of the three L1 terms."""

    temperature: PositiveFloat = 0.03
    foreground: Share = 0.6
    contrastive_epochs: Count = 5
    weight: NonNegative = 100.0


class LocalizerEvaluate(Section):
    """Frames a clip, spread over it, on which the map is judged (where every frame has a box).

    `dataset` judges on another data set than that of the training, whose manifest is data/<dataset>/manifest.csv or
    `manifest`.
    """

    frames: Positive = 1
    batch: Positive = 32
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

    @property
    def evaluation_data(self) -> Data:
        """The data set that maps are judged on: the training's, or `evaluate.dataset`."""
        if self.evaluate.dataset is None:
            return self.data
        other: dict[str, Any] = {"dataset": self.evaluate.dataset, "manifest": self.evaluate.manifest, "options": {}}
        return self.data.model_copy(update=other)


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

    train: Positive = 6000
    test: Positive = 500
    still_share: Share = 0.7
    still_tokens: Positive | None = None
    clip_tokens: Positive | None = None
    whole_share: Share = 0.1
    heard_share: PositiveShare = 1.0


class PretextRecipe(Recipe):
    """A start for small networks: shapes, motions, timbres and envelopes that no later task uses."""

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


class Example(Section):
    """A clip to show: the `number`th with sound (of class `label`) of a split, in the manifest's order.

    `frame` is the one of its eight frames that is shown, large; null shows all.
    """

    split: Split = "test"
    label: str | None = None
    number: Count = 0
    frame: Annotated[int, Field(ge=1, le=8)] | None = None


class MasksRecipe(Recipe):
    """The tube mask beside the localization-guided one on a clip (the paper's Figure 3); nothing is trained.

    `grid` is the number of tokens along a side, `keep` their share that is kept.
    """

    task: Literal["masks"]
    data: Data
    example: Example = Example()
    localizer: Guide
    grid: Annotated[int, Field(ge=2, le=56)] = 14
    keep: Share = 1 / 3  # the mean of λ ~ Beta(5, 10)
    average_frames: Literal[1, 2, 4, 8] = 1


AnyRecipe = Annotated[RecognitionRecipe | LocalizationRecipe | PretextRecipe | MasksRecipe, Field(discriminator="task")]
