"""ASGM-Former as the paper's Figure 1 draws it: video, audio and fusion transformer, a student and its teacher."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.losses.alignment import DistributionAlignment
from asgmcli.losses.fixmatch import FixedThreshold, NoThreshold
from asgmcli.losses.flexmatch import FlexibleThreshold
from asgmcli.nn.attention import init_transformer
from asgmcli.nn.encoders import build_audio_encoder, build_video_encoder
from asgmcli.nn.fusion import FusionTransformer
from asgmcli.nn.localizer import FrozenLocalizer, load_localizer
from asgmcli.nn.resnet import lay_channels_last
from asgmcli.nn.state import write_safetensors
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer
from asgmcli.nn.weights import start_from
from asgmcli.recipe.losses import Thresholds
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.training import SemiSupervised
from asgmcli.tasks.recognition.data import RecognitionData
from asgmcli.tasks.recognition.health import training_watches
from asgmcli.train.checkpoint import State
from asgmcli.train.compiler import check_compiler
from asgmcli.train.ema import make_teacher, update_teacher
from asgmcli.train.health import Watch
from asgmcli.train.task import Context
from asgmcli.train.weights import (
    AUDIO_WEIGHTS,
    LOCALIZER_WEIGHTS,
    MODEL_FORMAT,
    MODEL_WEIGHTS,
    OTHER_WEIGHTS,
    VIDEO_WEIGHTS,
)


@dataclass(frozen=True)
class ModelOutput:
    """logits [B, K]; class tokens video [B, D] and audio [B, D], None for a sense that the network lacks."""

    logits: Tensor
    video: Tensor | None
    audio: Tensor | None


# What a `ModelOutput` is made of.
Outputs = tuple[Tensor, Tensor | None, Tensor | None]


class ASGMFormer(nn.Module):
    """Video [B, 3, T, H, W] and log-mel [B, L, M] to logits [B, K] (Eq. 9-11); or one of them alone.

    Args:
        video: TimeSformer; with a classification head of its own where there is no audio. None for sound alone.
        audio: None for video alone.
        fusion: over the two class tokens; None for one sense alone.
        mean, std: of the pretrained network's pixels, a channel.
        head: classifier of the sound's class token, for sound alone.
        frozen_stem: what embeds the pixels has no gradient, and its batch norms do not follow the batches.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        video: TimeSformer | None,
        audio: AudioTransformer | None,
        fusion: FusionTransformer | None,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        head: nn.Linear | None = None,
        frozen_stem: bool = False,
    ) -> None:
        super().__init__()
        self.video = video
        self.audio = audio
        self.fusion = fusion
        if head is not None:
            self.head = head
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1, 1), persistent=False)
        self.frozen_stem = frozen_stem
        if video is not None and frozen_stem:
            video.patch_embed.requires_grad_(False).eval()
        self._parts = 1
        self._compiled: Callable[[Tensor | None, Tensor | None], Outputs] | None = None

    def train(self, mode: bool = True) -> ASGMFormer:
        """Set the mode of all but a frozen stem."""
        super().train(mode)
        if self.video is not None and self.frozen_stem:
            self.video.patch_embed.eval()
        return self

    def save_memory(self, settings: SemiSupervised) -> None:
        """Train with `activation_checkpointing` and `accumulate` as `settings` say."""
        self._parts = settings.accumulate
        for encoder in (self.video, self.audio):
            if encoder is not None:
                encoder.checkpoint_activations = settings.activation_checkpointing

    def compile_encoders(self) -> None:
        """Hand all that follows the patch embedding to torch.compile, which works when it is first called.

        A copy of this network made later would go on with this one's weights: compile copies apart.
        """
        self._compiled = torch.compile(self._encode)

    def normalise(self, frames: Tensor) -> Tensor:
        """Return float [B, 3, T, H, W], normalised as in the network's pretraining, of uint8 [B, T, 3, H, W]."""
        return (frames.transpose(1, 2).float() / 255 - self.mean) / self.std

    @property
    def mixes_pixels(self) -> bool:
        """Return True if clips are mixed before the embedding, whose tokens overlap, and not after it."""
        return self.video is not None and self.video.patch_embed.overlaps

    def embed(self, video: Tensor) -> Tensor:
        """Embed [B, 3, T, H, W] as tokens [B, T, N, D] before positions, where clips are mixed (Eq. 7)."""
        assert self.video is not None  # sound alone has no tokens to mix
        return self.video.embed(video)

    def classify(self, tokens: Tensor | None, audio: Tensor | None) -> ModelOutput:
        """Classify tokens [B, T, N, D] and log-mel [B, L, M]; None for a sense that the network lacks.

        With `train.accumulate` each part of the batch keeps only its outputs and is recomputed in the backward pass.
        """
        encode = self._compiled or self._encode
        if self._parts == 1 or not torch.is_grad_enabled():
            return ModelOutput(*encode(tokens, audio))
        pieces, sounds = (self._chunks(part, audio if tokens is None else tokens) for part in (tokens, audio))
        outputs = [
            checkpoint(encode, piece, sound, use_reentrant=False) for piece, sound in zip(pieces, sounds, strict=True)
        ]
        logits, video, heard = zip(*outputs, strict=True)
        return ModelOutput(torch.cat(logits), _joined(video), _joined(heard))

    def _chunks(self, inputs: Tensor | None, present: Tensor | None) -> list[Tensor | None]:
        """Return the parts that a batch goes through in, of inputs or of their absence beside `present`."""
        assert present is not None
        return [None] * len(present.chunk(self._parts)) if inputs is None else list(inputs.chunk(self._parts))

    def _encode(self, tokens: Tensor | None, audio: Tensor | None) -> Outputs:
        """Return logits, video and audio class tokens."""
        if self.video is None:
            assert self.audio is not None
            heard = self.audio(audio)
            return self.head(heard), None, heard
        assert tokens is not None
        video_token = self.video.encode(tokens)
        if self.audio is None or self.fusion is None:
            return self.video.head(video_token), video_token, None
        audio_token = self.audio(audio)
        return self.fusion(video_token, audio_token), video_token, audio_token

    def forward(self, video: Tensor | None, audio: Tensor | None = None) -> Tensor:
        """Return logits [B, K] of [B, 3, T, H, W] and [B, L, M]; None for a sense that the network lacks."""
        return self.classify(None if video is None else self.embed(video), audio).logits


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Join the parts that are there; None where none is."""
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


class Described(Protocol):
    """The weight file's description of the data: class names, statistics and length of the log-mel."""

    @property
    def classes(self) -> list[str]:
        """Return the class names in index order."""

    @property
    def mel_statistics(self) -> LogMelStatistics | None:
        """Return the statistics of the log-mel, None if the sound is not used."""

    @property
    def length(self) -> int:
        """Return L, the time steps of the log-mel."""


@dataclass
class RecognitionState:
    """Student, teacher, thresholds and the frozen localizer of one run; `chance` is what guessing the labels gets,
    `alignment` what the teacher's probabilities go through first."""

    recipe: RecognitionRecipe
    student: ASGMFormer
    teacher: ASGMFormer
    threshold: FixedThreshold | FlexibleThreshold
    localizer: FrozenLocalizer | None
    data: Described
    device: torch.device
    step: int = 0
    chance: float = 0.0
    alignment: DistributionAlignment | None = None
    warming_up: bool = False

    def trained(self) -> list[nn.Module]:
        """Return the student: the teacher follows it, the localizer is frozen."""
        return [self.student]

    def begin_step(self, epoch: int, step: int) -> None:
        """Note the step, which seeds the masks, and put the student in training mode."""
        train, self.step = self.recipe.train, step
        supervised = train.supervised_epochs if self.recipe.semi_supervised else 0
        self.warming_up = train.teacher == "after_warmup" and epoch < supervised
        self.student.train()

    def after_step(self) -> None:
        """Let the teacher follow; until it is born, with `train.teacher` after_warmup, it is the student's copy."""
        update_teacher(self.teacher, self.student, 0.0 if self.warming_up else self.recipe.train.ema_decay)

    def state_dict(self) -> State:
        """Return the state of student, teacher, thresholds and alignment."""
        state = {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "threshold": self.threshold.state_dict(),
        }
        return state if self.alignment is None else {**state, "alignment": self.alignment.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Restore the state that `state_dict` returned."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.threshold.load_state_dict(state["threshold"])
        if self.alignment is not None:
            self.alignment.load_state_dict(state["alignment"])

    def watches(self, steps: int, steps_an_epoch: int) -> list[Watch]:
        """Return what tells of pseudo-labels that never pass, and of a network that does not learn its labels."""
        supervised = self.recipe.train.supervised_epochs * steps_an_epoch if self.recipe.semi_supervised else 0
        return training_watches(self.recipe, self.chance, steps, min(supervised, steps))

    def export(self, folder: Path) -> None:
        """Write both networks as safetensors, each with all that is needed to use it as metadata."""
        judged = self.recipe.evaluate.network
        networks = {"student": self.student, "teacher": self.teacher}
        for name, network in networks.items():
            path = folder / (MODEL_WEIGHTS if name == judged else OTHER_WEIGHTS[judged])
            write_safetensors(path, network.state_dict(), {**self._metadata(), "network": name})

    def _metadata(self) -> dict[str, str]:
        """Return what a network's user must know beside its weights."""
        mel_statistics = self.data.mel_statistics
        return {
            "format": MODEL_FORMAT,
            "classes": json.dumps(self.data.classes),
            "recipe": self.recipe.model_dump_json(exclude={"rows", "compare"}),
            "length": str(self.data.length),
            "audio_mean": repr(mel_statistics.mean if mel_statistics else 0.0),
            "audio_std": repr(mel_statistics.std if mel_statistics else 1.0),
        }


def build_network(recipe: RecognitionRecipe, classes: int, length: int) -> ASGMFormer:
    """Build the network that `recipe` describes, with random weights; `length` is L of the log-mel."""
    model = recipe.model
    if model.modality == "video":
        encoder = build_video_encoder(model.video, recipe.clip, classes)
        return ASGMFormer(encoder, None, None, model.mean, model.std, frozen_stem=model.video.frozen_stem)
    if model.modality == "audio":
        head = nn.Linear(model.audio.dim, classes)
        init_transformer(head)
        alone = build_audio_encoder(model.audio, recipe.audio, length)
        return ASGMFormer(None, alone, None, model.mean, model.std, head)
    encoder = build_video_encoder(model.video, recipe.clip, 0)
    listener = build_audio_encoder(model.audio, recipe.audio, length)
    fusion = FusionTransformer(model.video.dim, classes, model.fusion.layers, model.fusion.heads)
    return ASGMFormer(encoder, listener, fusion, model.mean, model.std, frozen_stem=model.video.frozen_stem)


def make_threshold(settings: Thresholds, clips: int, classes: int) -> FixedThreshold | FlexibleThreshold:
    """Build the threshold of a run with `clips` unlabelled clips."""
    if settings.kind == "none":
        return NoThreshold()
    if settings.kind == "fixed":
        return FixedThreshold(settings.value)
    return FlexibleThreshold(clips, classes, settings.value, settings.mapping, settings.warmup)


def build_state(recipe: RecognitionRecipe, data: RecognitionData, context: Context) -> RecognitionState:
    """Build the student with its start, the teacher as its copy, threshold and localizer.

    Raises:
        DataError: a weight file is missing or does not fit.
    """
    student = build_network(recipe, len(data.classes), data.length)
    if student.video is not None:
        start = recipe.model.video.init
        start_from(student.video, start, context.weights_of(start, VIDEO_WEIGHTS))
    if student.audio is not None:
        start = recipe.model.audio.init
        start_from(student.audio, start, context.weights_of(start, AUDIO_WEIGHTS))
    student.to(context.device)
    threshold = make_threshold(recipe.thresholds, max(1, len(data.train.views.unlabeled)), len(data.classes))
    localizer = None
    if (guide := recipe.guide_network) is not None:
        path = context.weights_of(guide, LOCALIZER_WEIGHTS)
        assert path is not None  # a network comes from a recipe or a file
        localizer = load_localizer(path, map=guide.map, kind=guide.kind).to(context.device)
        if recipe.train.channels_last:
            lay_channels_last(localizer)
        if recipe.data.keep_decoded:
            localizer.remember_sounds()  # clips few enough to be held whole
    state = assemble(recipe, student, threshold, localizer, data, context.device)
    state.chance = data.chance
    if recipe.thresholds.alignment:
        state.alignment = DistributionAlignment(torch.tensor(data.class_shares))
    return state


def assemble(
    recipe: RecognitionRecipe,
    student: ASGMFormer,
    threshold: FixedThreshold | FlexibleThreshold,
    localizer: FrozenLocalizer | None,
    data: Described,
    device: torch.device,
) -> RecognitionState:
    """Build the state around a student that has its start: the teacher as its copy, and their compilation.

    Raises:
        UsageError: `train.compile`, and no compiler.
    """
    student.save_memory(recipe.train)
    teacher = make_teacher(student)
    if recipe.train.compile:
        check_compiler()
        student.compile_encoders()
        teacher.compile_encoders()
    return RecognitionState(recipe, student, teacher, threshold, localizer, data, device)
