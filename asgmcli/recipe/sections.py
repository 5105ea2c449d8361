"""The sections of recipes, with the paper's values as defaults where it gives one.

A recipe is checked against these models before anything is read or built: unknown keys, wrong types and impossible
values are refused. The letters are those of the paper: τ threshold, λ mixing weight, γ loss weights.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from asgmcli.recipe.bounds import (
    MOST_GENERATED,
    Batch,
    Cores,
    Count,
    Depth,
    EpochCount,
    Epochs,
    Frames,
    Heads,
    MaskWidth,
    Mels,
    NonNegative,
    Operations,
    Pixels,
    Positive,
    PositiveFloat,
    PositiveShare,
    Ratio,
    Seconds,
    Seed,
    Share,
    ShareBelowOne,
    Stride,
    Views,
    Width,
    Workers,
)

ON_DEMO = "@demo"
"""Ends the name of a recipe whose rows run on the demo data in small sizes."""
# Recipes and rows name folders of runs.
Name = Annotated[str, Field(pattern=rf"^[A-Za-z0-9_][A-Za-z0-9_.+-]*({ON_DEMO})?$")]
# Any split that the manifest has.
Split = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
ALL_ROWS = "all"


class Section(BaseModel):
    """A group of recipe keys; unknown keys are refused and values are never changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


SEED_OF_RUN = "run"


def with_seed(values: dict[str, Any], seed: Any) -> dict[str, Any]:
    """A copy of nested `values` in which every `seed: run` names `seed`."""
    return {
        key: with_seed(value, seed)
        if isinstance(value, dict)
        else (seed if key == "seed" and value == SEED_OF_RUN else value)
        for key, value in values.items()
    }


class Compare(Section):
    """Rows, or curves of a figure, `to` which all others are compared seed by seed, by `metrics`."""

    to: list[str] = Field(min_length=1)
    metrics: list[str] = Field(["top1"], min_length=1)


class Start(Section):
    """Where a network's weights come from: exactly one of another recipe's run, a file, or a timm model's name.

    `seed` is that of the other recipe's run, its own where it is left out; `seed: run` is the seed of this run.
    """

    recipe: Name | None = None
    seed: Seed | None = None
    file: str | None = None
    timm: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Start:
        if sum(value is not None for value in (self.recipe, self.file, self.timm)) != 1:
            raise ValueError("name exactly one of recipe, file, timm (or write `init: none`)")
        if self.seed is not None and self.recipe is None:
            raise ValueError("seed goes with recipe: a file and a timm model have none")
        return self


def _none(value: Any) -> Any:
    """`init: none` says out loud that a network starts from random weights."""
    return None if value == "none" else value


Init = Annotated[Start | None, BeforeValidator(_none)]


class Data(Section):
    """Which clips, and which of them count as labelled.

    `options` are those of a data set that is generated; their `seed: run` gives each seed of a recipe clips of its own.
    `eval_also` names more splits to judge on: what is measured on `test_shuffled` beside `test` is `top1_shuffled`.
    `keep_decoded` holds decoded clips in memory, `share_decoded` as arrays on disk, beside the manifest, for all runs.
    """

    dataset: str
    manifest: str | None = None
    options: dict[str, int | float] = {}
    labeled_per_class: Positive | None = None
    split_seed: int | None = None
    train_split: Split = "train"
    eval_split: Split = "test"
    eval_also: list[Split] = []
    workers: Workers = 0
    keep_decoded: bool = False
    share_decoded: bool = False
    max_failures: Count = 100

    @model_validator(mode="after")
    def _kept_once(self) -> Data:
        for key, value in self.options.items():
            if key != "seed" and value > MOST_GENERATED:
                raise ValueError(f"options.{key} {value} is more than {MOST_GENERATED}")
        if self.keep_decoded and self.workers:
            # They would hold as many copies, and lose them with themselves at the end of every epoch.
            raise ValueError(
                "keep_decoded holds every clip in the process that decodes: set workers to 0, or it to false"
            )
        return self


class Clip(Section):
    """Frames of a training or evaluation clip."""

    frames: Frames = 8
    stride: Stride = 8
    size: Pixels = 224
    short_side: tuple[Pixels, Pixels] = Field((256, 320), strict=False)
    backend: Literal["pyav", "decord"] = "pyav"

    @model_validator(mode="after")
    def _range(self) -> Clip:
        if not self.size <= self.short_side[0] <= self.short_side[1]:
            raise ValueError("short_side is [low, high] with size <= low <= high")
        return self


class Audio(Section):
    """The log-mel filter bank of a clip's sound. `mean` and `std` are measured on the training clips when left out."""

    seconds: Seconds = 4.0
    mels: Mels = 128
    mean: float | None = None
    std: PositiveFloat | None = None

    @model_validator(mode="after")
    def _both(self) -> Audio:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or neither: then both are measured on the training clips")
        return self

    @property
    def length(self) -> int:
        """L, time steps of 10 ms: the sound's hops rounded up to a multiple of 16 (METHOD: inputs)."""
        return max(math.ceil(round(self.seconds * 16000) / 160 / 16), 1) * 16


class Augment(Section):
    """Strong views: RandAugment and channel dropout on the picture, SpecAugment on the sound (METHOD: inputs).

    Without `geometric`, RandAugment leaves out what moves things in the picture, as it always does where maps made
    beforehand must fit: rows that differ in their guide alone then share their views.
    """

    flip: Share = 0.5
    operations: Operations = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    geometric: bool = True
    channel_dropout: Share = 0.2
    temporal_warp: bool = True
    frequency_mask: MaskWidth = 24
    time_mask: MaskWidth = 40


class Encoder(Section):
    """A transformer's size and start. Defaults are ViT-B/16."""

    dim: Width = 768
    depth: Depth = 12
    heads: Heads = 12
    patch_size: Pixels = 16
    embed_hidden: Width | None = None
    drop_path: ShareBelowOne = 0.1
    init: Init = None

    @model_validator(mode="after")
    def _heads(self) -> Encoder:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        return self


class VideoEncoder(Encoder):
    """The video transformer; a token spans `tubelet` frames."""

    tubelet: Frames = 1


class Fusion(Section):
    """The transformer over the two class tokens (Eq. 11)."""

    layers: Depth = 2
    heads: Heads = 12


class Model(Section):
    """The recognition network. The audio encoder and the fusion are left out where `modality` is video."""

    modality: Literal["video", "video+audio"] = "video+audio"
    video: VideoEncoder = VideoEncoder()
    audio: Encoder = Encoder()
    fusion: Fusion = Fusion()
    mean: tuple[float, float, float] = Field((0.5, 0.5, 0.5), strict=False)
    std: tuple[float, float, float] = Field((0.5, 0.5, 0.5), strict=False)

    @model_validator(mode="after")
    def _same_width(self) -> Model:
        if self.modality == "video+audio" and self.video.dim != self.audio.dim:
            raise ValueError("fusion takes two class tokens of one width: model.video.dim must equal model.audio.dim")
        if self.modality == "video+audio" and self.video.dim % self.fusion.heads:
            raise ValueError(f"model.fusion.heads {self.fusion.heads} does not divide model.video.dim {self.video.dim}")
        return self


class Thresholds(Section):
    """When the teacher's label is trusted: FixMatch's fixed τ or FlexMatch's per class (Eq. 4-5)."""

    kind: Literal["fixed", "flexible"] = "flexible"
    value: PositiveShare = 0.3
    mapping: Literal["linear", "convex"] = "linear"
    warmup: bool = False


class Masks(Section):
    """Which tokens of clip A a mixture keeps; λ ~ Beta(alpha, beta).

    `sharpness` is the power of the localizer's map (min-max normalised), for the draw and the target alike. `placebo`
    makes every map point to a wrong place: moved around the edges, or its cells shuffled.
    """

    kind: Literal["tube", "localization"] = "localization"
    alpha: PositiveFloat = 5.0
    beta: PositiveFloat = 10.0
    average_frames: Literal[1, 2, 4, 8] = 1
    sharpness: PositiveFloat = 1.0
    placebo: Literal["none", "roll", "shuffle"] = "none"


class Guide(Section):
    """The localizer that draws the localization-guided mask.

    `fnac` is a frozen network, of a recipe's run or in a weight file; `map` and `seconds` of sound are its. `motion`
    needs no weights: what moves in time with the sound makes it. It is run over whole clips beforehand, so RandAugment
    then leaves its geometric operations out. `oracle` is no localizer but the truth, from the boxes of a data set that
    has them, with the same effect on RandAugment: an upper bound, for experiments. `seed` as in `Start`.
    """

    kind: Literal["fnac", "motion", "oracle"] = "fnac"
    recipe: Name | None = None
    file: str | None = None
    seed: Seed | None = None
    map: Literal["cosine", "affinity"] = "cosine"
    seconds: Seconds = 3.0

    @model_validator(mode="after")
    def _one(self) -> Guide:
        if self.kind != "fnac" and (self.recipe is not None or self.file is not None):
            raise ValueError(f"kind {self.kind} has no weights: leave recipe and file out")
        if self.kind == "fnac" and (self.recipe is None) == (self.file is None):
            raise ValueError("name exactly one of recipe, file (or kind: motion, which needs neither)")
        if self.seed is not None and self.recipe is None:
            raise ValueError("seed goes with recipe: nothing else has one")
        return self


class Optimizer(Section):
    """SGD with Nesterov momentum as in the paper, Adam with L2 weight decay as FNAC's, or AdamW.

    Under the last two, `momentum` is the first of Adam's betas.
    """

    kind: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: PositiveFloat = 5e-3
    momentum: ShareBelowOne = 0.9
    weight_decay: NonNegative = 1e-3
    schedule: Literal["steps", "cosine", "constant"] = "steps"
    milestones: list[Share] = [25 / 30, 28 / 30]
    gamma: PositiveFloat = 0.1
    warmup_steps: Count = 0
    clip_norm: PositiveFloat | None = None


class Train(Section):
    """How long, in what batches, and what is kept on the way.

    What a step's memory does not hold: `activation_checkpointing` computes every block again in the backward pass;
    `accumulate` takes the student's batch through the network in so many parts, one part's activations at a time, and
    their gradients add up. Losses and mixtures are still those of the whole batch, so each part's forward pass is done
    twice. `compile` hands the networks to torch.compile, which pays in long runs; `channels_last` lays out the
    localizer's convolutions as GPUs with bf16 want them.

    `cores` is how many of a CPU's a step takes, all where it is left out: a small network's is about as quick on one,
    which leaves another to make the next batch, and is not held up where the machine has other work.
    """

    epochs: Epochs = 50
    batch: Batch = 8
    unlabeled_ratio: Ratio = 5
    supervised_epochs: EpochCount = 5
    ema_decay: Share = 0.99
    optimizer: Optimizer = Optimizer()
    precision: Literal["fp32", "bf16"] = "fp32"
    activation_checkpointing: bool = False
    accumulate: Batch = 1
    compile: bool = False
    channels_last: bool = False
    cores: Cores | None = None
    save_minutes: PositiveFloat = 10.0
    evaluate_every: EpochCount = 0
    max_steps: Positive | None = None

    @property
    def saves_memory(self) -> bool:
        """Whether memory is to be saved at the cost of time."""
        return self.activation_checkpointing or self.accumulate > 1


class Log(Section):
    """What shows the numbers of metrics.jsonl as well; it decides nothing about the result."""

    tensorboard: bool = False
    wandb: bool = False
    project: str = "asgm"


class Evaluate(Section):
    """Views a video is judged by: clips spread over it, times crops of each."""

    clips: Views = 5
    crops: Literal[1, 3] = 3
    batch: Batch = 8


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
