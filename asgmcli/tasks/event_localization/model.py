"""The network that names the event of each segment, and its state in training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from asgmcli.nn.avel import AVEL, CELLS
from asgmcli.nn.psp import PSPNet
from asgmcli.nn.state import fit, read_state, write_safetensors
from asgmcli.nn.tacma import TACMA, Probe
from asgmcli.recipe.event_localization import EventLocalizationRecipe, EventModel
from asgmcli.tasks.event_localization.data import EventBatches
from asgmcli.tasks.event_localization.inputs import Inputs, open_inputs
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context
from asgmcli.train.weights import ENCODER_WEIGHTS, EVENT_FORMAT, EVENT_WEIGHTS

Answer = tuple[Tensor, Tensor | None]
"""Logits [B, T, K], and PSP's cosine of both streams [B, T]."""


class EventNetwork(nn.Module):
    """A network on features that are fixed.

    Args:
        settings: of the recipe.
        classes: K.
        widths: of the audio and of the visual features.
        cells: of the maps that AVEL and PSP take.
    """

    def __init__(self, settings: EventModel, classes: int, widths: tuple[int, int], cells: int = CELLS) -> None:
        super().__init__()
        self.settings = settings
        dim, kind = settings.dim, settings.kind
        self.head: nn.Module
        if kind == "avel":
            self.head = AVEL(classes, settings.modality, settings.attention, widths=widths, cells=cells)
        elif kind == "psp":
            self.head = PSPNet(classes, settings.dropout, widths=widths, cells=cells)
        elif kind == "tacma":
            sizes = (settings.hidden, settings.out, classes)
            self.head = TACMA(dim, *sizes, theta=settings.theta, fuse=settings.fuse, head=settings.head)
        else:
            self.head = Probe(dim, classes, settings.modality, settings.head)
        self.in_a, self.in_v, self.audio_lstm, self.visual_lstm = None, None, None, None
        if kind == "bilstm":
            self.audio_lstm, self.visual_lstm = (
                nn.LSTM(width, dim // 2, batch_first=True, bidirectional=True) for width in widths
            )
        elif kind in ("tacma", "probe"):
            self.in_a, self.in_v = (nn.Linear(width, dim) if width != dim else None for width in widths)

    def forward(self, audio: Tensor, visual: Tensor) -> Answer:
        """Return logits [B, T, K] of audio features [B, T, A] and visual ones [B, T, V] or [B, T, 7, 7, 512], and of
        PSP the cosine of both streams [B, T].
        """
        if isinstance(self.head, PSPNet):
            logits, similarity = self.head(audio, visual, self.settings.threshold)
            return logits, similarity
        return self.head(*self.features(audio, visual)), None

    def features(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the head takes: both features at its width."""
        if self.audio_lstm is not None and self.visual_lstm is not None:
            return self.audio_lstm(audio)[0], self.visual_lstm(visual)[0]
        return _through(self.in_a, audio), _through(self.in_v, visual)


def _through(layer: nn.Linear | None, features: Tensor) -> Tensor:
    return features if layer is None else layer(features)


@dataclass
class EventState(SingleNetwork):
    """The network in training, and the features that it is given."""

    recipe: EventLocalizationRecipe
    network: EventNetwork
    data: EventBatches
    inputs: Inputs
    device: torch.device

    def export(self, folder: Path) -> None:
        """Write the network with its classes, its recipe, and what made its features."""
        about = {
            "format": EVENT_FORMAT,
            "classes": json.dumps(self.data.events.classes),
            "recipe": self.recipe.model_dump_json(exclude={"rows", "compare", "figure"}),
            "widths": json.dumps(self.inputs.widths),
            "cells": json.dumps(self.inputs.cells),
            "origins": json.dumps(self.inputs.origins),
        }
        write_safetensors(folder / EVENT_WEIGHTS, self.network.state_dict(), about)


def build_state(recipe: EventLocalizationRecipe, data: EventBatches, context: Context) -> EventState:
    """Open the features, build the network and load its start.

    Raises:
        DataError: features or a weight file are missing or do not fit.
    """
    inputs = open_inputs(recipe, data.events, context)
    network = EventNetwork(recipe.model, len(data.events.classes), inputs.widths, inputs.cells)
    start = context.weights_of(recipe.model.init, ENCODER_WEIGHTS)
    if start is not None:
        _load_lstms(network, start)
    return EventState(recipe, network.to(context.device), data, inputs, context.device)


def _load_lstms(network: EventNetwork, path: Path) -> None:
    """Load the BiLSTMs of an encoder.

    Raises:
        DataError: the file has none, or of other sizes.
    """
    tensors = read_state(path)
    for name in ("audio_lstm", "visual_lstm"):
        prefix = f"{name}."
        kept = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        fit(getattr(network, name), kept, f"{path} ({name})", may_keep=lambda _: False, resize={})
