"""A trained network of event localization: judged on a manifest, asked about videos of any length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest
from asgmcli.data.segments import Span, labels_to_spans, webvtt
from asgmcli.data.windows import Window, windows_of
from asgmcli.errors import DataError, UsageError
from asgmcli.files import write_text
from asgmcli.nn.state import fit, read_metadata, read_state
from asgmcli.prepare.event_set import EventSet, event_set
from asgmcli.prepare.single import manifest_of
from asgmcli.ranks.exchange import own_rank
from asgmcli.recipe.event_localization import EventLocalizationRecipe
from asgmcli.recipe.sections import SplitData
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.event_localization.batch import Batch
from asgmcli.tasks.event_localization.data import EventBatches, plan_of
from asgmcli.tasks.event_localization.evaluate import Judged, answer_all, answers, evaluation_of, exchange
from asgmcli.tasks.event_localization.model import EventNetwork, EventState
from asgmcli.tasks.event_localization.source import Source, source_of
from asgmcli.train.batches import watched
from asgmcli.train.task import Evaluation, Examination, Exported, Prediction
from asgmcli.train.weights import EVENT_FORMAT, described, stored_recipe


@dataclass(frozen=True)
class TrainedEvents:
    """A trained network, its recipe, and where its features come from."""

    recipe: EventLocalizationRecipe
    network: EventNetwork
    classes: list[str]
    source: Source
    device: torch.device

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of a prediction's lines: seconds, class, mean probability."""
        return ("start", "end", "event", "probability")

    @property
    def data(self) -> SplitData:
        """Return the data set of its evaluation."""
        return self.recipe.data

    def with_weights(self, files: Mapping[str, Path]) -> TrainedEvents:
        """Return it with weight files of the networks that make its features, by their names.

        Raises:
            UsageError: none of its networks has such a name.
        """
        return replace(self, source=self.source.with_weights(files))

    def examine(self, manifest: Manifest, beside: str | None = None) -> Examination:
        """See `Trained.examine`; there is no baseline.

        Raises:
            DataError: the manifest has no events, or other classes.
            UsageError: `beside` names a baseline.
        """
        if beside is not None:
            raise UsageError(f"{beside} is not measured beside event localization.")
        events = event_set(manifest, self.recipe.clip.seconds)
        if events.classes != self.classes:
            raise DataError(f"{manifest.path}: its classes are not those that the network was trained on.")
        numbers = events.of_split(self.recipe.data.eval_split)
        if not len(numbers):
            raise DataError(f"{manifest.path}: no clip in split {self.recipe.data.eval_split!r}")
        count = len({events.windows[number].row.id for number in numbers})
        views = {"seconds": self.recipe.clip.seconds}
        return Examination(count, f"{count} clips", views, partial(self._examine, events, numbers))

    def _examine(
        self, events: EventSet, numbers: NDArray[np.int64], seen: Callable[[int], None], paper: Mapping[str, float]
    ) -> tuple[Evaluation, Table]:
        inputs = self.source.inputs(self.recipe, events, numbers)
        data = EventBatches(self.recipe, events, numbers, plan_of(self.recipe, len(numbers)))
        state = EventState(self.recipe, self.network, data, inputs, self.device)
        batches: Iterator[Batch] = watched(data.batches_of(numbers), seen)
        found = answer_all(state, batches)
        beside = exchange(state, numbers, found)
        table = Table("Segments", ["id", "second", "event", "predicted", "probability"], [])
        if found is None:
            if own_rank():
                return Evaluation({}), table
            raise DataError(f"{events.manifest.path}: nothing to judge")
        evaluation = evaluation_of(found, events, paper, weak=self.recipe.supervision == "weak")
        evaluation.metrics.update(beside.metrics)
        evaluation.tables.update(beside.tables)
        return evaluation, replace(table, rows=list(_lines(found, events)))

    @torch.no_grad()
    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        """Name the events of a video of any length: its windows one after the other, equal neighbours joined.

        Raises:
            MediaError: the file cannot be read, or has no sound.
            DataError: what made the network's features is gone or has changed.
        """
        manifest = manifest_of(path, audio)
        row = manifest.rows[0]
        windows = windows_of(row, self.recipe.clip.seconds)
        features = (part.to(self.device) for part in self.source.features(manifest, windows))
        logits, _ = self.network.eval()(*features)
        if self.recipe.supervision == "weak":
            logits = logits[..., : len(self.classes) - 1]
        labels, probability = answers(logits)
        real = sum(window.real for window in windows)
        found = labels.reshape(-1)[:real], probability.reshape(-1)[:real]
        spans = labels_to_spans(*found, self.classes, end=row.duration or None)
        data: dict[str, object] = {"spans": [_told(span) for span in spans], "note": self.source.note}
        files: dict[str, Callable[[Path], object]] = {
            "_timeline.png": lambda target: _draw(manifest, windows, spans, self.classes, target),
            ".vtt": lambda target: write_text(target, webvtt(spans)),
        }
        rows: list[list[Cell]] = [[span.start, span.end, span.label, round(span.probability, 4)] for span in spans]
        return Prediction(spans, rows, data, files)

    def export(self, path: Path) -> Exported:
        """Refuse.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{path}: a network of event localization is not exported; recognizers are.")


def _told(span: Span) -> dict[str, object]:
    times = {"start": span.start, "end": span.end}
    return {**times, "label": span.label, "probability": round(span.probability, 4)}


def _draw(manifest: Manifest, windows: list[Window], spans: list[Span], classes: list[str], path: Path) -> Path:
    """Draw a clip's timeline."""
    from asgmcli.report.timeline import TimelineClip, Track, draw_timelines
    from asgmcli.tasks.event_localization.figures import pictures

    frames, wave = pictures(manifest, windows)
    seconds = float(sum(window.real for window in windows))
    clip = TimelineClip(windows[0].row.id, seconds, [Track("answer", spans)], frames, wave)
    return draw_timelines([clip], path, labels=classes)


def _lines(found: Judged, events: EventSet) -> Iterator[list[Cell]]:
    """Yield a line a segment: clip, second, true and predicted class, probability."""
    names = events.classes
    for number, labels, predicted, probability in zip(
        found.numbers, found.labels, found.predicted, found.probability, strict=True
    ):
        window = events.windows[number]
        for second in range(window.real):
            name = [window.row.id, window.start + second, names[labels[second]], names[predicted[second]]]
            yield [*name, round(float(probability[second]), 4)]


def owns(path: Path) -> bool:
    """Return True for a network that training of this task wrote."""
    return read_metadata(path).get("format") == EVENT_FORMAT


def load(path: Path, recipe: EventLocalizationRecipe | None, device: torch.device) -> TrainedEvents:
    """Load a network, with its run's recipe, or the one in its file.

    Raises:
        DataError: the file is missing, broken, or of another kind.
    """
    about = read_metadata(path)
    if about.get("format") != EVENT_FORMAT:
        raise DataError(f"{path}: not a network of event localization.")
    with described(path):
        known = recipe or stored_recipe(about, path, EventLocalizationRecipe)
        classes, widths = json.loads(about["classes"]), json.loads(about["widths"])
        origins, cells = json.loads(about["origins"]), int(about["cells"])
        network = EventNetwork(known.model, len(classes), (int(widths[0]), int(widths[1])), cells)
    fit(network, read_state(path), str(path), may_keep=lambda _: False, resize={})
    source = source_of(known, origins, path.parent, device)
    return TrainedEvents(known, network.to(device).eval(), classes, source, device)
