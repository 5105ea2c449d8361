"""Sections on training: its length, batches and optimizer, and the loggers of its numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from asgmcli.recipe.bounds import (
    Batch,
    Cores,
    Count,
    EpochCount,
    Epochs,
    NonNegative,
    Positive,
    PositiveFloat,
    Ratio,
    Share,
    ShareBelowOne,
)
from asgmcli.recipe.sections import Section


class Optimizer(Section):
    """SGD with Nesterov momentum as in the paper, Adam with L2 weight decay as FNAC's, AdamW, or LARS."""

    kind: Literal["sgd", "adam", "adamw", "lars"] = "sgd"
    """SGD with Nesterov momentum, Adam with L2 weight decay, AdamW, or LARS as Barlow Twins has it."""
    lr: PositiveFloat = 5e-3
    """Learning rate."""
    bias_lr: PositiveFloat | None = None
    """Learning rate of biases and norms under lars, `lr` where left out."""
    trust: PositiveFloat = 1e-3
    """Trust coefficient of lars: a matrix's step in shares of its norm, at a learning rate of 1."""
    momentum: ShareBelowOne = 0.9
    """Momentum; under adam and adamw the first of the betas."""
    weight_decay: NonNegative = 1e-3
    """Weight decay; under adamw and lars of matrices alone."""
    schedule: Literal["steps", "epochs", "cosine", "constant"] = "steps"
    """How the learning rate falls: times `gamma` at `milestones` or every `decay_epochs`, along a cosine, or not."""
    milestones: list[Share] = Field([25 / 30, 28 / 30])
    """When it falls, in shares of the run."""
    decay_epochs: Epochs = 10
    """Epochs from one fall to the next."""
    gamma: PositiveFloat = 0.1
    """What it is multiplied by at each fall."""
    final: Share = 0.0
    """Share of the learning rate at which the cosine ends."""
    warmup_steps: Count = 0
    """First steps, over which the learning rate rises from 0."""
    clip_norm: PositiveFloat | None = None
    """Longest gradient, which longer ones are shortened to; null shortens none."""

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing here, and why."""
        used = {"steps": ("milestones", "gamma"), "epochs": ("decay_epochs", "gamma"), "cosine": ("final",)}
        names = ("milestones", "decay_epochs", "gamma", "final")
        why = f"train.optimizer.schedule is {self.schedule}"
        found = {f"train.optimizer.{name}": why for name in names if name not in used.get(self.schedule, ())}
        if self.schedule == "steps" and not self.milestones:
            found["train.optimizer.gamma"] = "train.optimizer.milestones is empty"
        if self.kind != "lars":
            kind = f"train.optimizer.kind is {self.kind}"
            found |= {"train.optimizer.bias_lr": kind, "train.optimizer.trust": kind}
        return found


class Train(Section):
    """The common part of all trainings: how long it takes, in what batches, and what is kept on the way."""

    epochs: Epochs = 50
    """Passes over the data."""
    batch: Batch = 8
    """Clips a step; in recognition labelled ones."""
    optimizer: Optimizer = Optimizer()
    """What steps the weights."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Numbers that a step computes in; bf16 for GPUs."""
    cores: Cores | None = None
    """A CPU's cores that a step takes, all where left out; a small network is about as quick on one."""
    save_minutes: PositiveFloat = 10.0
    """Minutes between checkpoints."""
    evaluate_every: EpochCount = 0
    """Epochs between evaluations on the way; 0 evaluates at the end alone."""
    max_steps: Positive | None = None
    """Steps after which the run ends, if its epochs have not ended before."""


class ValidatedTrain(Train):
    """A training whose epochs are validated: the recipe class says by what (`TrainedRecipe.best`)."""

    keep: Literal["best", "last"] = "best"
    """Epoch that is evaluated and exported: the last, or the best of those validated after each epoch."""


class PartialTrain(Train):
    """A training that may take its last clips of an epoch as they are."""

    partial: Literal["fill", "drop", "keep"] = "fill"
    """An epoch's last clips that make no whole batch: filled from another shuffle, left out, or a smaller batch."""


class ConvolutionTrain(Train):
    """A training of, or guided by, a network of convolutions."""

    channels_last: bool = False
    """Lay out the localizer's convolutions as GPUs with bf16 want them."""


class SemiSupervised(ConvolutionTrain):
    """Training on labelled and unlabelled clips, with a teacher that follows the student."""

    unlabeled_ratio: Ratio = 5
    """Unlabelled clips a labelled one in each step; 0 trains on labelled clips alone."""
    supervised_epochs: EpochCount = 5
    """First epochs, which see labelled clips alone."""
    epoch: Literal["labeled", "unlabeled"] = "unlabeled"
    """What an epoch passes over: the full batches of the `labeled` list, the others cycling beside it (SVFormer's
    released code), or the longer list until every clip of it was seen."""
    ema_decay: Share = 0.99
    """Share of its own weights that the teacher keeps in each step; the rest it takes from the student."""
    teacher: Literal["start", "after_warmup"] = "start"
    """When the teacher's average begins: at the first step, or after the supervised epochs, as the student's copy
    (SVFormer's released code)."""
    activation_checkpointing: bool = False
    """Save memory: compute every block again in the backward pass."""
    accumulate: Batch = 1
    """Save memory: parts that a batch goes through the network in; losses and mixtures stay those of the whole."""
    compile: bool = False
    """Hand the networks to torch.compile, which pays in long runs."""


class Log(Section):
    """Loggers that show the numbers of metrics.jsonl as well; they decide nothing about the result."""

    tensorboard: bool = False
    """Show them in TensorBoard."""
    wandb: bool = False
    """Show them in Weights & Biases."""
    project: str = "asgm"
    """Project in Weights & Biases."""
