"""A segmenter as ONNX: frames, their sounds' vectors and flow in, a probability a pixel out, checked against torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from asgmcli.tasks.segmentation.model import Segmenter
from asgmcli.tasks.segmentation.sounds import audio_dim
from asgmcli.train.onnx import difference_of, write_onnx
from asgmcli.train.task import Exported

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from asgmcli.tasks.segmentation.load import TrainedSegmenter

# The largest difference of a probability that rounding may make.
TOLERANCE = 1e-3


class Deployed(nn.Module):
    """A trained segmenter from stored pictures to probabilities; nothing is left to normalise outside."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, audio: Tensor, flow: Tensor | None = None) -> Tensor:
        """Return probabilities [1, T, S, S] of uint8 [1, T, 3, S, S], sounds [1, T, A] and flow [1, T, 2, S, S]."""
        found: Tensor = self.network(image, audio, flow).logits.sigmoid()
        return found


def export_onnx(trained: TrainedSegmenter, path: Path) -> Exported:
    """Write `path`, whole or not at all: a clip of `evaluate.frames` frames (AVSegFormer: one) at a time.

    What a caller must know stands in the file's metadata: the kind of the sound's vectors, and the flow's bound.

    Raises:
        UsageError: a package that this needs is not installed.
        DataError: the file cannot be written, or ONNX Runtime gives other probabilities than torch.
    """
    model, example, other = Deployed(trained.network).cpu().eval(), _example(trained, 0), _example(trained, 1)

    def compare(session: InferenceSession) -> float:
        with torch.no_grad():
            return difference_of(session, other, model(*other.values()))

    difference = write_onnx(path, model, example, _metadata(trained), compare, TOLERANCE)
    inputs: dict[str, list[str | int]] = {name: [*value.shape] for name, value in example.items()}
    return Exported(path, inputs, difference, path.stat().st_size)


def _example(trained: TrainedSegmenter, seed: int) -> dict[str, Tensor]:
    """Return made-up inputs by name."""
    draw, recipe = torch.Generator().manual_seed(seed), trained.recipe
    frames = recipe.evaluate.frames if recipe.model.kind == "tpavi" else 1
    size = recipe.input.size
    inputs = {
        "image": torch.randint(256, (1, frames, 3, size, size), dtype=torch.uint8, generator=draw),
        "audio": torch.randn(1, frames, audio_dim(recipe.audio), generator=draw),
    }
    if recipe.reads_flow:
        inputs["flow"] = torch.rand(1, frames, 2, size, size, generator=draw)
    return inputs


def _metadata(trained: TrainedSegmenter) -> dict[str, str]:
    recipe = trained.recipe
    return {
        "audio": recipe.audio.kind,
        "flow_bound": str(trained.flow_bound),
        "size": str(recipe.input.size),
        "model": json.dumps(recipe.model.model_dump(mode="json", exclude={"init"})),
    }
