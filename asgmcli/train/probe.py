"""Classifiers fitted on features that are fixed, by the validation's best epoch: what the features are worth."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from asgmcli.data.plan import Plan, Stream
from asgmcli.metrics.segments import IGNORED, confusion, segment_accuracy
from asgmcli.nn.tacma import Modality, Probe
from asgmcli.recipe.event_representation import ProbeSettings
from asgmcli.train.seed import forked


@dataclass(frozen=True)
class Encoded:
    """A data set's features and labels.

    Attributes:
        audio: float32 [W, T, d].
        visual: float32 [W, T, d].
        labels: int64 [W, T], -1 beyond a clip.
        classes: K.
    """

    audio: Tensor
    visual: Tensor
    labels: Tensor
    classes: int

    def of(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return audio, visual and labels of some windows."""
        return self.audio[windows], self.visual[windows], self.labels[windows]


@dataclass(frozen=True)
class Parts:
    """The numbers of the windows that are trained on, chosen by, and tested on; `val` may be empty."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


def fit_probe(data: Encoded, parts: Parts, modality: Modality, settings: ProbeSettings, seed: int) -> Tensor:
    """Fit a probe, and return its confusion on the test windows, int64 [K, K], rows truth.

    Validation is judged after every epoch; the first of its best epochs is tested, once. Without validation the last
    epoch is.

    Args:
        data: features and labels.
        parts: windows.
        modality: what the probe takes.
        settings: of the training.
        seed: of weights and shuffles.
    """
    with forked(seed):
        probe = Probe(data.audio.shape[2], data.classes, modality, settings.head).to(data.audio.device)
    optimizer = torch.optim.Adam(probe.parameters(), lr=settings.lr)
    plan = Plan({"windows": Stream(len(parts.train), settings.batch)}, seed, partial="keep")
    train, val, test = (torch.from_numpy(part).to(data.audio.device) for part in (parts.train, parts.val, parts.test))
    best, state = -1.0, copy.deepcopy(probe.state_dict())
    for epoch in range(settings.epochs):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * settings.gamma ** (epoch // settings.decay_epochs)
        for numbers in plan.numbers(epoch):
            chosen = train[torch.tensor(numbers, device=train.device)]
            _step(probe, optimizer, *data.of(chosen))
        accuracy = _accuracy(probe, data, val) if len(val) else float(epoch)
        if accuracy > best:
            best, state = accuracy, copy.deepcopy(probe.state_dict())
    probe.load_state_dict(state)
    with torch.no_grad():
        audio, visual, labels = data.of(test)
        return confusion(probe(audio, visual), labels).cpu()


def _step(probe: Probe, optimizer: torch.optim.Optimizer, audio: Tensor, visual: Tensor, labels: Tensor) -> None:
    logits = probe(audio, visual)
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@torch.no_grad()
def _accuracy(probe: Probe, data: Encoded, windows: Tensor) -> float:
    audio, visual, labels = data.of(windows)
    return segment_accuracy(probe(audio, visual), labels)
