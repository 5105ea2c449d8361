"""Load a trained recognizer from its weight file alone, and evaluate it on any manifest of its classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from asgmcli.data.loader import collate
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError, MediaError, UsageError
from asgmcli.nn.state import fit, read_metadata, read_state
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.sections import TrainingData
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.recognition.clips import fitted, read_clip_of
from asgmcli.tasks.recognition.evaluate import ScoredBatch, evaluation_of, exchange_metrics, predict, score, whole
from asgmcli.tasks.recognition.model import ASGMFormer, build_network
from asgmcli.tasks.recognition.views import evaluation_batches, labeled_rows
from asgmcli.train.batches import watched
from asgmcli.train.task import Evaluation, Examination, Exported, Prediction
from asgmcli.train.weights import MODEL_FORMAT, MODEL_WEIGHTS, OTHER_WEIGHTS, described, stored_recipe

TOP = 5
"""Classes of a clip that are told."""
TOGETHER = (8, 32)
"""Clips that are worth asking about at once, by default and of at most `FEW_BYTES`: more of others gain nothing."""
FEW_BYTES = 32 << 10


@dataclass(frozen=True)
class TrainedRecognizer:
    """A network with all that its inputs and outputs need.

    Attributes:
        recipe: it was trained with; `evaluate` and `data` may be replaced for another evaluation.
        classes: names in the order of its scores.
        mel_statistics: log-mel statistics of its training clips, None where it does not listen.
        beside: weight file of the other one of student and teacher, judged with this one; None where there is none.
    """

    recipe: RecognitionRecipe
    network: ASGMFormer
    classes: list[str]
    mel_statistics: LogMelStatistics | None
    device: torch.device
    beside: Path | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of a prediction's lines."""
        return ("label", "probability")

    @property
    def data(self) -> TrainingData:
        """Return the data set it was trained on."""
        return self.recipe.data

    def examine(self, manifest: Manifest, beside: str | None = None) -> Examination:
        """See `Trained.examine`.

        Raises:
            DataError: no labelled clip in the split, or classes that the network does not know.
            UsageError: `beside` is given.
        """
        if beside is not None:
            raise UsageError(f"{beside} is measured beside a localizer; this is a recognizer.")
        recipe = self.recipe
        rows = known_rows(self.classes, manifest, recipe.data.eval_split)
        views = {"clips": recipe.evaluate.clips, "crops": recipe.evaluate.crops}
        silent = sum(not row.audio for row in rows)
        warnings = [f"{silent} of {len(rows)} clips have no sound; they are heard as silence."]
        reader = ClipReader(manifest, recipe.clip, recipe.audio, keep=recipe.data.keep_decoded)
        return Examination(
            len(rows),
            f"{len(rows)} clips, {views['clips']} clips x {views['crops']} crops each",
            views,
            lambda seen, paper: evaluate_recognizer(self, reader, rows, seen),
            warnings if self.mel_statistics is not None and silent else [],
        )

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        """Predict a clip's class: every class with its probability (0..1), the most likely first.

        Probabilities are averaged as in the evaluation: over several clips spread over the video, times crops of each,
        as many as the recipe's `evaluate` says. A video without sound is treated as silent.

        Raises:
            MediaError: the file is missing, broken, or holds no picture.
        """
        (found,) = self.predict_many([(path, audio)])
        if isinstance(found, MediaError):
            raise found
        return found

    @property
    def together(self) -> int:
        """Return how many clips are worth asking about at once; `evaluate.batch` bounds what the network takes."""
        clip, views = self.recipe.clip, self.recipe.evaluate
        seen = 3 * clip.size**2 * clip.frames * views.clips * views.crops if self.recipe.sees else 0
        return TOGETHER[seen <= FEW_BYTES]

    def predict_many(self, clips: Sequence[tuple[Path, Path | None]]) -> list[Prediction | MediaError]:
        """Predict as `predict`, as many clips through the network at once as `evaluate.batch` says."""
        read = (read_clip_of(self.recipe, path, audio) for path, audio in clips)
        views = fitted(self.recipe, self.mel_statistics, read)
        good = [one for one in views if not isinstance(one, MediaError)]
        size = self.recipe.evaluate.batch
        batches = (collate(good[start : start + size]) for start in range(0, len(good), size))
        scores = iter(predict((self.network,), batches, self.device)[0] if good else ())
        return [one if isinstance(one, MediaError) else self._told(next(scores)) for one in views]

    def _told(self, scores: torch.Tensor) -> Prediction:
        order = scores.argsort(descending=True).tolist()
        found = [(self.classes[index], float(scores[index])) for index in order]
        rows: list[list[Cell]] = [[name, round(probability, 6)] for name, probability in found[:TOP]]
        return Prediction(found, rows, {"probabilities": dict(found)})

    def export(self, path: Path) -> Exported:
        """Write the network as ONNX; see `asgmcli.tasks.recognition.export`."""
        from asgmcli.tasks.recognition.export import export_onnx

        return export_onnx(self, path)

    def scores(
        self,
        reader: ClipReader,
        rows: Sequence[ManifestRow],
        seen: Callable[[int], None],
        others: Sequence[ASGMFormer] = (),
    ) -> list[ScoredBatch]:
        """Return what this network makes of `rows`, and what `others` do, batch by batch.

        With several ranks each takes its share of the rows; none on other ranks than the first. `seen` gets the clips
        done.
        """
        numbers = {name: index for index, name in enumerate(self.classes)}
        labels = {row.id: numbers.get(row.label, -1) for row in rows}
        batches = evaluation_batches(self.recipe, reader, rows, labels, self.mel_statistics, own_share())
        return score((self.network, *others), watched(batches, seen), self.device)


def owns(path: Path) -> bool:
    """Return True if training wrote the weight file `path` for a recognizer."""
    return read_metadata(path).get("format") == MODEL_FORMAT


def load(path: Path, recipe: RecognitionRecipe | None, device: torch.device) -> TrainedRecognizer:
    """Load a recognizer from a weight file that training wrote, which holds its recipe.

    Raises:
        DataError: the file is missing, broken, or not such a file.
    """
    metadata = read_metadata(path)
    if metadata.get("format") != MODEL_FORMAT:
        raise DataError(f"{path}: not a recognition model that asgm train wrote (model.safetensors of a run)")
    with described(path):
        classes = [str(name) for name in json.loads(metadata["classes"])]
        recipe = stored_recipe(metadata, path, RecognitionRecipe)
        network = build_network(recipe, len(classes), int(metadata["length"]))
        mel_statistics = LogMelStatistics(float(metadata["audio_mean"]), float(metadata["audio_std"]))
    fit(network, read_state(path), str(path), may_keep=lambda name: False, resize={})
    heard = mel_statistics if recipe.listens else None
    other = path.with_name(OTHER_WEIGHTS[recipe.evaluate.network])
    beside = other if path.name == MODEL_WEIGHTS and other.is_file() else None
    return TrainedRecognizer(recipe, network.to(device).eval(), classes, heard, device, beside)


def known_rows(classes: Sequence[str], manifest: Manifest, split: str) -> list[ManifestRow]:
    """Return the labelled clips of `split`, all of classes that the network knows.

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


def evaluate_recognizer(
    trained: TrainedRecognizer, reader: ClipReader, rows: Sequence[ManifestRow], seen: Callable[[int], None]
) -> tuple[Evaluation, Table]:
    """Evaluate as training does at its end, on any rows. Return also a line a clip: id, label, predicted, confidence
    (0..1), by the network itself; the other one of student and teacher stands beside it in the metrics.

    With several ranks each takes its share of the rows; only the first returns findings.
    """
    found = {} if trained.beside is None else {trained.beside.stem: load(trained.beside, None, trained.device)}
    every = trained.scores(reader, rows, seen, [other.network for other in found.values()])
    table = Table("Predictions", ["id", "label", "predicted", "confidence"], [])
    if not every:
        return Evaluation({}), table
    scores, labels = whole(every, 0)
    evaluation = evaluation_of(scores, labels, trained.classes)
    evaluation.metrics.update(exchange_metrics(trained.network, every, trained.classes))
    for number, name in enumerate(found, start=1):
        metrics = evaluation_of(whole(every, number)[0], labels, trained.classes).metrics
        evaluation.metrics.update({f"{metric}_{name}": value for metric, value in metrics.items()})
    best, chosen = scores.max(dim=1)
    lines: list[list[Cell]] = [
        [row.id, row.label, trained.classes[number], round(confidence, 6)]
        for row, number, confidence in zip(rows, chosen.tolist(), best.tolist(), strict=True)
    ]
    return evaluation, replace(table, rows=lines)
