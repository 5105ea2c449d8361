"""The deployed recognizer as ONNX: pixels and sound in, probabilities out, checked against torch before it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from asgmcli.data.reader import RATE
from asgmcli.errors import DataError
from asgmcli.files import replacing
from asgmcli.train.onnx import OPSET, TOLERANCE, check_packages, quiet
from asgmcli.train.task import Exported

if TYPE_CHECKING:
    from asgmcli.tasks.recognition.load import TrainedRecognizer

# Views of the example that is traced, and of those that are checked: another number must work too.
TRACED, CHECKED = 2, (1, 3)


class Deployed(nn.Module):
    """A trained recognizer from what is decoded to what is told; nothing is left to normalise outside."""

    def __init__(self, trained: TrainedRecognizer) -> None:
        super().__init__()
        self.network = trained.network
        self.mel_statistics = trained.mel_statistics

    def forward(self, video: Tensor, logmel: Tensor | None = None) -> Tensor:
        """Return probabilities [V, K], one row a view, of frames uint8 [V, T, 3, S, S] and raw log-mel [V, L, M]."""
        sound = None if logmel is None or self.mel_statistics is None else self.mel_statistics.normalise(logmel)
        probabilities: Tensor = self.network(self.network.normalise(video), sound).softmax(dim=1)
        return probabilities


class DeployedEar(Deployed):
    """A recognizer of sound alone."""

    def forward(self, logmel: Tensor) -> Tensor:  # type: ignore[override]
        """Return probabilities [V, K] of raw log-mel [V, L, M]."""
        assert self.mel_statistics is not None
        probabilities: Tensor = self.network(None, self.mel_statistics.normalise(logmel)).softmax(dim=1)
        return probabilities


def export_onnx(trained: TrainedRecognizer, path: Path) -> Exported:
    """Write `path`, whole or not at all.

    The number of views V is free. What a caller must know stands in the file's metadata: class names in the order of
    the probabilities, frames and their stride, pixels, and for the sound its rate, seconds and mel bins (the log-mel is
    `asgmcli.media.audio.log_mel`'s). A video's probabilities are the mean over its views.

    Raises:
        UsageError: a package that this needs is not installed.
        DataError: the file cannot be written, or ONNX Runtime gives other probabilities than torch.
    """
    check_packages()
    import onnx

    model = (Deployed if trained.recipe.sees else DeployedEar)(trained).cpu().eval()
    names = list(_example(trained, TRACED))
    views = {0: torch.export.Dim.DYNAMIC}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            model,
            tuple(_example(trained, TRACED).values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["probabilities"],
            dynamic_shapes=tuple(views for _ in names),
            verbose=False,
        )
    assert program is not None  # as it is with dynamo=True
    proto = program.model_proto
    onnx.helper.set_model_props(proto, _metadata(trained))
    with replacing(path, proto.ByteSize()) as temporary:
        onnx.save_model(proto, str(temporary))
        difference = _difference(model, trained, temporary)
        if not difference <= TOLERANCE:
            raise DataError(f"{path}: not written. ONNX Runtime's probabilities are {difference:.2g} off torch's")
    inputs: dict[str, list[str | int]] = {name: ["views", *x.shape[1:]] for name, x in _example(trained, 1).items()}
    return Exported(path, inputs, difference, path.stat().st_size)


def _example(trained: TrainedRecognizer, views: int) -> dict[str, Tensor]:
    """Made-up inputs by name."""
    draw = torch.Generator().manual_seed(views)
    clip, audio = trained.recipe.clip, trained.recipe.audio
    shape = (views, clip.frames, 3, clip.size, clip.size)
    inputs = {"video": torch.randint(256, shape, dtype=torch.uint8, generator=draw)} if trained.recipe.sees else {}
    if trained.mel_statistics is not None:
        noise = torch.randn(views, audio.length, audio.mels, generator=draw)
        inputs["logmel"] = trained.mel_statistics.mean + 2 * trained.mel_statistics.std * noise
    return inputs


def _metadata(trained: TrainedRecognizer) -> dict[str, str]:
    clip, audio = trained.recipe.clip, trained.recipe.audio
    values: dict[str, object] = {
        "classes": json.dumps(trained.classes),
        "frames": clip.frames,
        "stride": clip.stride,
        "fps": "the file's" if clip.fps is None else clip.fps,
        "size": clip.size,
    }
    if trained.mel_statistics is not None:
        values |= {"audio_rate": RATE, "audio_seconds": audio.seconds, "audio_mels": audio.mels}
    return {key: str(value) for key, value in values.items()}


def _difference(model: Deployed, trained: TrainedRecognizer, path: Path) -> float:
    """Return the largest difference of a probability between the file and torch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for views in CHECKED:
        inputs = _example(trained, views)
        with torch.no_grad():
            expected = model(*inputs.values())
        found = torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])
        if found.shape != expected.shape:
            return float("inf")
        worst = max(worst, float((found - expected).abs().max().nan_to_num(float("inf"))))
    return worst
