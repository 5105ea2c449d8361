"""The deployed recognizer as ONNX: frames and sound in, probabilities out, checked against torch before it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from asgmcli.data.reader import RATE
from asgmcli.files import write_text
from asgmcli.media.audio import log_mel
from asgmcli.nn.log_mel import LogMel
from asgmcli.train.onnx import difference_of, write_onnx
from asgmcli.train.task import Exported

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from asgmcli.tasks.recognition.load import TrainedRecognizer

PROGRAM = Path(__file__).with_name("infer.py")
"""What asks an exported network about clips."""
# Views of the example that is traced, and of those that are checked: another number must work too.
TRACED, CHECKED = 2, (1, 3)


class Deployed(nn.Module):
    """A trained recognizer from what is decoded to what is told; nothing is left to transform or normalise outside."""

    def __init__(self, trained: TrainedRecognizer) -> None:
        super().__init__()
        audio = trained.recipe.audio
        self.network = trained.network
        self.mel_statistics = trained.mel_statistics
        self.log_mel = LogMel(audio.length, audio.mels, RATE) if trained.mel_statistics is not None else None

    def forward(self, video: Tensor, wave: Tensor | None = None) -> Tensor:
        """Return probabilities [V, K], one row a view, of frames uint8 [V, T, 3, S, S] and mono sound [V, samples]."""
        sound = None if wave is None else self.heard(wave)
        probabilities: Tensor = self.network(self.network.normalise(video), sound).softmax(dim=1)
        return probabilities

    def heard(self, wave: Tensor) -> Tensor:
        """Return the normalised log-mel [V, L, M] of mono sound [V, samples]."""
        assert self.log_mel is not None
        assert self.mel_statistics is not None
        return self.mel_statistics.normalise(self.log_mel(wave))


class DeployedEar(Deployed):
    """A recognizer of sound alone."""

    def forward(self, wave: Tensor) -> Tensor:  # type: ignore[override]
        """Return probabilities [V, K] of mono sound [V, samples]."""
        probabilities: Tensor = self.network(None, self.heard(wave)).softmax(dim=1)
        return probabilities


def export_onnx(trained: TrainedRecognizer, path: Path) -> Exported:
    """Write `path`, whole or not at all, and beside it infer.py, which asks it about clips without torch.

    The number of views V is free. What a caller must know stands in the file's metadata: class names in the order of
    the probabilities, frames, their stride and rate, pixels, the views of an evaluation, and for the sound its rate and
    seconds. A video's probabilities are the mean over its views.

    Raises:
        UsageError: a package that this needs is not installed.
        DataError: the file cannot be written, or ONNX Runtime gives other probabilities than torch.
    """
    model = (Deployed if trained.recipe.sees else DeployedEar)(trained).cpu().eval()
    example, views = _example(trained, TRACED), {0: torch.export.Dim.DYNAMIC}

    def compare(session: InferenceSession) -> float:
        examples = [_example(trained, views) for views in CHECKED]
        with torch.no_grad():
            return max(difference_of(session, inputs, _told_by_torch(model, **inputs)) for inputs in examples)

    shapes = tuple(views for _ in example)
    difference = write_onnx(path, model, example, _metadata(trained), compare, dynamic_shapes=shapes)
    write_text(path.with_name(PROGRAM.name), PROGRAM.read_text(encoding="utf-8"))
    inputs: dict[str, list[str | int]] = {name: ["views", *x.shape[1:]] for name, x in example.items()}
    return Exported(path, inputs, difference, path.stat().st_size)


def _example(trained: TrainedRecognizer, views: int) -> dict[str, Tensor]:
    """Return made-up inputs by name."""
    draw = torch.Generator().manual_seed(views)
    clip, audio = trained.recipe.clip, trained.recipe.audio
    shape = (views, clip.frames, 3, clip.size, clip.size)
    inputs = {"video": torch.randint(256, shape, dtype=torch.uint8, generator=draw)} if trained.recipe.sees else {}
    if trained.mel_statistics is not None:
        inputs["wave"] = 0.1 * torch.randn(views, round(audio.seconds * RATE), generator=draw)
    return inputs


def _metadata(trained: TrainedRecognizer) -> dict[str, str]:
    clip, audio, evaluate = trained.recipe.clip, trained.recipe.audio, trained.recipe.evaluate
    values: dict[str, object] = {
        "classes": json.dumps(trained.classes),
        "frames": clip.frames,
        "stride": clip.stride,
        "fps": clip.fps or "",
        "size": clip.size,
        "short_side": clip.short_side[1],
        "clips": evaluate.clips,
        "crops": evaluate.crops,
        "starts": evaluate.starts,
    }
    if trained.mel_statistics is not None:
        values |= {"audio_rate": RATE, "audio_seconds": audio.seconds, "audio_mels": audio.mels}
        values["audio_inside"] = int(audio.inside)
    return {key: str(value) for key, value in values.items()}


def _told_by_torch(model: Deployed, video: Tensor | None = None, wave: Tensor | None = None) -> Tensor:
    """Return probabilities [V, K] with the log-mel that training and evaluation compute."""
    sound = None
    if wave is not None and model.log_mel is not None and model.mel_statistics is not None:
        mels = model.log_mel.bank.shape[1]
        sound = model.mel_statistics.normalise(log_mel(wave, rate=RATE, mels=mels))
    pixels = None if video is None else model.network.normalise(video)
    probabilities: Tensor = model.network(pixels, sound).softmax(dim=1)
    return probabilities
