"""A trained recognizer from its weight file alone, and how it is judged on any manifest of its classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from asgmcli.data.loader import Batch, Loudness
from asgmcli.data.manifest import Manifest, Row
from asgmcli.data.plan import Share
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError, RecipeError
from asgmcli.nn.state import fit, read_metadata, read_state
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.read import check_recipe, drop_retired
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.recognition.evaluate import judge, predict, predict_together
from asgmcli.tasks.recognition.model import ASGMFormer, build_network
from asgmcli.tasks.recognition.views import evaluation_batches, labeled_rows
from asgmcli.train.task import Evaluation
from asgmcli.train.weights import MODEL_FORMAT


@dataclass(frozen=True)
class TrainedRecognizer:
    """A network with all that its inputs and outputs need.

    Attributes:
        recipe: it was trained with; `evaluate` and `data` may be replaced for another evaluation.
        classes: names in the order of its scores.
        loudness: log-mel statistics of its training clips, None where it does not listen.
    """

    recipe: RecognitionRecipe
    network: ASGMFormer
    classes: list[str]
    loudness: Loudness | None
    device: torch.device

    def scores(self, reader: ClipReader, rows: Sequence[Row], seen: Callable[[int], None]) -> torch.Tensor:
        """Probabilities [n, K] of `rows`, averaged over each clip's views; `seen` is told the number of clips done."""
        return predict(self.network, self._batches(reader, rows, seen, None), self.device)[0]

    def scores_together(
        self, reader: ClipReader, rows: Sequence[Row], seen: Callable[[int], None]
    ) -> torch.Tensor | None:
        """The same from all ranks, each with its share of `rows`; None on every rank but the first."""
        return predict_together(self.network, self._batches(reader, rows, seen, own_share()), self.device)

    def _batches(
        self, reader: ClipReader, rows: Sequence[Row], seen: Callable[[int], None], share: Share | None
    ) -> Iterator[Batch]:
        numbers = {name: index for index, name in enumerate(self.classes)}
        labels = {row.id: numbers.get(row.label, -1) for row in rows}
        return _watched(evaluation_batches(self.recipe, reader, rows, labels, self.loudness, share), seen)


def load_recognizer(path: Path, device: torch.device) -> TrainedRecognizer:
    """The network in a weight file that training wrote.

    Raises:
        DataError: the file is missing, broken, or not such a file.
    """
    metadata = read_metadata(path)
    if metadata.get("format") != MODEL_FORMAT:
        raise DataError(f"{path}: not a recognition model that asgm train wrote (model.safetensors of a run)")
    try:
        classes = [str(name) for name in json.loads(metadata["classes"])]
        values = json.loads(metadata["recipe"])
        # The file names the row that was trained; the table around it is the recipe's business.
        values["rows"] = {values["default_row"]: {"title": values["default_row"]}}
        values.pop("compare", None)
        drop_retired(values)
        recipe = check_recipe(values, path)
        if not isinstance(recipe, RecognitionRecipe):
            raise ValueError(f"task {recipe.task}")
        network = build_network(recipe, len(classes), int(metadata["length"]))
        loudness = Loudness(float(metadata["audio_mean"]), float(metadata["audio_std"]))
    except (KeyError, ValueError, TypeError, RecipeError) as error:
        reason = error.message if isinstance(error, RecipeError) else f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: its description of the network is unusable ({' '.join(reason.split())})") from error
    fit(network, read_state(path), str(path), may_keep=lambda name: False, resize={})
    heard = loudness if recipe.model.modality == "video+audio" else None
    return TrainedRecognizer(recipe, network.to(device).eval(), classes, heard, device)


def known_rows(classes: Sequence[str], manifest: Manifest, split: str) -> list[Row]:
    """The labelled clips of `split`, all of classes that the network knows.

    Raises:
        DataError: there is none, or some are of other classes.
    """
    rows = labeled_rows(manifest, split)
    foreign = sorted({row.label for row in rows} - set(classes))
    if foreign:
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise DataError(
            f"{manifest.path}: {len(foreign)} of its classes are unknown to the model ({shown}). "
            f"It knows {len(classes)}: {', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}."
        )
    return rows


def judge_recognizer(
    trained: TrainedRecognizer, reader: ClipReader, rows: Sequence[Row], seen: Callable[[int], None]
) -> tuple[Evaluation, Table]:
    """What training reports at its end, on any rows; and a line a clip: id, label, predicted, confidence (0..1).

    With several ranks each looks at its share of the rows, and the first tells; the others return nothing found.
    """
    scores = trained.scores_together(reader, rows, seen)
    table = Table("Predictions", ["id", "label", "predicted", "confidence"], [])
    if scores is None:
        return Evaluation({}), table
    numbers = {name: index for index, name in enumerate(trained.classes)}
    evaluation = judge(scores, torch.tensor([numbers[row.label] for row in rows]), trained.classes)
    best, chosen = scores.max(dim=1)
    lines: list[list[Cell]] = [
        [row.id, row.label, trained.classes[number], round(confidence, 6)]
        for row, number, confidence in zip(rows, chosen.tolist(), best.tolist(), strict=True)
    ]
    return evaluation, replace(table, rows=lines)


def _watched(batches: Iterable[Batch], seen: Callable[[int], None]) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        seen(len(batch["id"]))
