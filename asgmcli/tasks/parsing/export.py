"""A network that parses as ONNX: features in, probabilities out, checked against torch before it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.files import replacing
from asgmcli.loading import require
from asgmcli.media.seconds import SECONDS
from asgmcli.train.onnx import NEEDED, OPSET, TOLERANCE, quiet
from asgmcli.train.task import Exported

if TYPE_CHECKING:
    from asgmcli.tasks.parsing.load import TrainedParser

NAMES = ("audio", "image", "motion")
OUTPUTS = ("clip", "frame")
TRACED, CHECKED = 2, (1, 3)


class Deployed(nn.Module):
    """A network that parses, with plain tensors as its answer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: Tensor, image: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities of clips [B, C] and of their seconds [B, T, 2, C]."""
        parsed = self.network(audio, image, motion)
        return parsed.clip, parsed.frame


def export_onnx(trained: TrainedParser, path: Path) -> Exported:
    """Write `path`, whole or not at all; the number of clips is free, class names stand in its metadata.

    Raises:
        UsageError: a package that this needs is not installed.
        DataError: the file cannot be written, or ONNX Runtime gives other probabilities than torch.
    """
    require(NEEDED, "ONNX export", "onnx")
    import onnx

    model = Deployed(trained.network).cpu().eval()
    clips = {0: torch.export.Dim.DYNAMIC}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            model,
            tuple(_example(trained, TRACED)),
            dynamo=True,
            # The exporter's optimizer fails on layers that are called twice.
            optimize=False,
            opset_version=OPSET,
            input_names=list(NAMES),
            output_names=list(OUTPUTS),
            dynamic_shapes=tuple(clips for _ in NAMES),
            verbose=False,
        )
    assert program is not None  # as it is with dynamo=True
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"classes": json.dumps(trained.classes), "modalities": "audio, visual"})
    with replacing(path, proto.ByteSize()) as temporary:
        onnx.save_model(proto, str(temporary))
        difference = _difference(model, trained, temporary)
        if not difference <= TOLERANCE:
            raise DataError(f"{path}: not written. ONNX Runtime's probabilities are {difference:.2g} off torch's")
    trained.network.to(trained.device)
    inputs: dict[str, list[str | int]] = {
        name: ["clips", *part.shape[1:]] for name, part in zip(NAMES, _example(trained, 1), strict=True)
    }
    return Exported(path, inputs, difference, path.stat().st_size)


def _example(trained: TrainedParser, clips: int) -> list[Tensor]:
    """Return made-up features."""
    drawn = torch.Generator().manual_seed(clips)
    return [torch.rand(clips, SECONDS, width, generator=drawn) for width in trained.network.input_dims]


def _difference(model: nn.Module, trained: TrainedParser, path: Path) -> float:
    """Return the largest difference of a probability between the file and torch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for clips in CHECKED:
        parts = _example(trained, clips)
        with torch.no_grad():
            expected = model(*parts)
        found = session.run(None, {name: part.numpy() for name, part in zip(NAMES, parts, strict=True)})
        for one, other in zip(found, expected, strict=True):
            if tuple(one.shape) != tuple(other.shape):
                return float("inf")
            worst = max(worst, float((torch.from_numpy(one) - other).abs().max().nan_to_num(float("inf"))))
    return worst
