"""ASGM-Former as the paper's Figure 1 draws it: video, audio and fusion transformer, a student and its teacher."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asgmcli.losses.fixmatch import FixedThreshold
from asgmcli.losses.flexmatch import FlexibleThreshold
from asgmcli.nn.encoders import build_audio_encoder, build_video_encoder, start_from
from asgmcli.nn.fusion import FusionTransformer
from asgmcli.nn.localizer import FrozenLocalizer, load_localizer
from asgmcli.nn.state import write_safetensors
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer
from asgmcli.settings import RecognitionRecipe
from asgmcli.tasks.recognition.data import RecognitionData
from asgmcli.train.ema import make_teacher, update_teacher
from asgmcli.train.loop import Context
from asgmcli.train.weights import AUDIO_WEIGHTS, LOCALIZER_WEIGHTS, MODEL_FORMAT, MODEL_WEIGHTS, VIDEO_WEIGHTS


@dataclass(frozen=True)
class Prediction:
    """logits [B, K]; class tokens video [B, D] and audio [B, D] (None without sound)."""

    logits: Tensor
    video: Tensor
    audio: Tensor | None


class ASGMFormer(nn.Module):
    """Video [B, 3, T, H, W] and log-mel [B, L, M] to logits [B, K] (Eq. 9-11); or video alone (SVFormer's rows).

    Args:
        video: TimeSformer; with a classification head of its own where there is no audio.
        audio: None for video alone.
        fusion: over the two class tokens; None for video alone.
        mean, std: of the pretrained network's pixels, a channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        video: TimeSformer,
        audio: AudioTransformer | None,
        fusion: FusionTransformer | None,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.video = video
        self.audio = audio
        self.fusion = fusion
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1, 1), persistent=False)

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 [B, T, 3, H, W] -> float [B, 3, T, H, W] as the network was pretrained."""
        return (frames.transpose(1, 2).float() / 255 - self.mean) / self.std

    def embed(self, video: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> tokens [B, T, N, D] before positions, where clips are mixed (Eq. 7)."""
        return self.video.embed(video)

    def classify(self, tokens: Tensor, audio: Tensor | None) -> Prediction:
        """Tokens [B, T, N, D] and log-mel [B, L, M] to the prediction."""
        video_token = self.video.encode(tokens)
        if self.audio is None or self.fusion is None:
            return Prediction(self.video.head(video_token), video_token, None)
        audio_token = self.audio(audio)
        return Prediction(self.fusion(video_token, audio_token), video_token, audio_token)

    def forward(self, video: Tensor, audio: Tensor | None = None) -> Tensor:
        """[B, 3, T, H, W] and [B, L, M] -> logits [B, K]."""
        return self.classify(self.embed(video), audio).logits


@dataclass
class RecognitionState:
    """Student, teacher, thresholds and the frozen localizer of one run."""

    recipe: RecognitionRecipe
    student: ASGMFormer
    teacher: ASGMFormer
    threshold: FixedThreshold | FlexibleThreshold
    localizer: FrozenLocalizer | None
    data: RecognitionData
    device: torch.device
    step: int = 0

    def trained(self) -> list[nn.Module]:
        """The student: the teacher follows it, the localizer is frozen."""
        return [self.student]

    def begin_step(self, epoch: int, step: int) -> None:
        """Note the step, which seeds the masks, and put the student in training mode."""
        self.step = step
        self.student.train()

    def after_step(self) -> None:
        """Let the teacher follow."""
        update_teacher(self.teacher, self.student, self.recipe.train.ema_decay)

    def state_dict(self) -> dict[str, Any]:
        """Student, teacher and thresholds."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "threshold": self.threshold.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.threshold.load_state_dict(state["threshold"])

    def export(self, folder: Path) -> None:
        """Write the teacher as safetensors, with all that is needed to use it as metadata."""
        loudness = self.data.loudness
        metadata = {
            "format": MODEL_FORMAT,
            "classes": json.dumps(self.data.classes),
            "recipe": self.recipe.model_dump_json(exclude={"rows"}),
            "length": str(self.data.length),
            "audio_mean": repr(loudness.mean if loudness else 0.0),
            "audio_std": repr(loudness.std if loudness else 1.0),
        }
        write_safetensors(folder / MODEL_WEIGHTS, self.teacher.state_dict(), metadata)


def build_network(recipe: RecognitionRecipe, classes: int, length: int) -> ASGMFormer:
    """The network that `recipe` describes, with random weights; `length` is L of the log-mel."""
    model = recipe.model
    if model.modality == "video":
        encoder = build_video_encoder(model.video, recipe.clip, classes)
        return ASGMFormer(encoder, None, None, model.mean, model.std)
    encoder = build_video_encoder(model.video, recipe.clip, 0)
    listener = build_audio_encoder(model.audio, recipe.audio, length)
    fusion = FusionTransformer(model.video.dim, classes, model.fusion.layers, model.fusion.heads)
    return ASGMFormer(encoder, listener, fusion, model.mean, model.std)


def build_state(recipe: RecognitionRecipe, data: RecognitionData, context: Context) -> RecognitionState:
    """Student with its start, teacher as its copy, threshold and localizer.

    Raises:
        DataError: a weight file is missing or does not fit.
    """
    student = build_network(recipe, len(data.classes), data.length)
    start_from(student.video, recipe.model.video.init, context.weights_of(recipe.model.video.init, VIDEO_WEIGHTS))
    if student.audio is not None:
        start = recipe.model.audio.init
        start_from(student.audio, start, context.weights_of(start, AUDIO_WEIGHTS))
    student.to(context.device)
    settings = recipe.thresholds
    clips = max(1, len(data.train.views.unlabeled))
    threshold: FixedThreshold | FlexibleThreshold = FixedThreshold(settings.value)
    if settings.kind == "flexible":
        threshold = FlexibleThreshold(clips, len(data.classes), settings.value, settings.mapping, settings.warmup)
    localizer = None
    if recipe.guide == "fnac" and recipe.localizer is not None:
        path = context.weights_of(recipe.localizer, LOCALIZER_WEIGHTS)
        assert path is not None  # FNAC comes from a recipe or a file
        localizer = load_localizer(path, map=recipe.localizer.map).to(context.device)
    return RecognitionState(recipe, student, make_teacher(student), threshold, localizer, data, context.device)
