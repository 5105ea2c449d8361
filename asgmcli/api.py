"""A trained recognizer in Python: load a run, ask what is to be seen and heard in a clip."""

from __future__ import annotations

import os
from pathlib import Path

from asgmcli.data.manifest import Manifest, Row
from asgmcli.data.reader import ClipReader
from asgmcli.errors import MediaError, UsageError
from asgmcli.prepare.verify import Fault, Task, examine
from asgmcli.ranks.device import choose_device
from asgmcli.runs.target import find_trained
from asgmcli.tasks.recognition.load import TrainedRecognizer, load_recognizer


class Recognizer:
    """A trained network that names what happens in a clip; made by `asgmcli.load`."""

    def __init__(self, trained: TrainedRecognizer) -> None:
        self._trained = trained

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the network's scores."""
        return list(self._trained.classes)

    def predict(self, clip: str | os.PathLike[str]) -> list[tuple[str, float]]:
        """Every class with its probability (0..1), the most likely first.

        The probabilities are those of `asgm eval`: averaged over several clips spread over the video, times crops of
        each, as many as the recipe's `evaluate` says. A video without sound is heard as silence.

        Raises:
            MediaError: `clip` is missing, broken, or holds no picture.
        """
        path = Path(clip).absolute()
        row = _row(path)
        manifest = Manifest(path.parent, [row], [], path, "")
        reader = ClipReader(manifest, self._trained.recipe.clip, self._trained.recipe.audio)
        scores = self._trained.scores(reader, [row], lambda done: None)[0]
        order = scores.argsort(descending=True).tolist()
        return [(self._trained.classes[index], float(scores[index])) for index in order]


def load(path: str | os.PathLike[str], device: str = "auto") -> Recognizer:
    """The recognizer in a run's folder or in its model.safetensors; see `asgmcli.load`."""
    found = find_trained(Path(path))
    if found.task != "recognition":
        raise UsageError(f"{path}: a {found.task} network knows no classes. Use asgm localize CLIP --weights {path}")
    trained = load_recognizer(found.weights, choose_device(device))
    # One clip needs no processes beside this one.
    data = trained.recipe.data.model_copy(update={"workers": 0})
    recipe = trained.recipe.model_copy(update={"data": data})
    return Recognizer(TrainedRecognizer(recipe, trained.network, trained.classes, trained.loudness, trained.device))


def _row(path: Path) -> Row:
    """The manifest row that `asgm prepare` would write of this file."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file; is the path right?")
    facts = examine(Task(path.name, str(path), "", listen=False, decode=False))
    if isinstance(facts, Fault):
        raise MediaError(f"{path}: {facts.detail}")
    audio = str(path) if facts.sound else ""
    return Row(
        path.name, str(path), "", "test", facts.duration, facts.fps, facts.frames, facts.width, facts.height, audio, ""
    )
