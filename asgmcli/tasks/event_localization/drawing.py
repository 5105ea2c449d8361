"""Pictures of finished runs (Figures 5, 7 and 8 of AV-BT and TACMA): nothing is trained."""

from __future__ import annotations

import json

import numpy as np
import torch
from numpy.typing import NDArray

from asgmcli.data.plan import generator
from asgmcli.errors import DataError
from asgmcli.files import write_text
from asgmcli.metrics.segments import IGNORED, confusion_of
from asgmcli.nn.tacma import TACMA
from asgmcli.prepare.event_set import EventSet, open_events
from asgmcli.recipe.event_figures import EventFiguresRecipe, RunOf
from asgmcli.tasks.event_localization.data import EventBatches, plan_of
from asgmcli.tasks.event_localization.evaluate import Judged, answer_all
from asgmcli.tasks.event_localization.load import TrainedEvents, load
from asgmcli.tasks.event_localization.model import EventState
from asgmcli.train.run import Result, Run
from asgmcli.train.task import Context
from asgmcli.train.weights import EVENT_WEIGHTS

PICTURES: tuple[str, ...] = ("figure.png", "figure.svg")
SECONDS = 10
CALLED = {"tacma": "TACMA", "probe": "classifier", "bilstm": "BiLSTMs", "avel": "AVEL", "psp": "PSP"}
"""Networks, as pictures call them."""
STREAMS = ("sound, f_a", "picture, f_v", "sound, as TACMA adds it", "picture, as TACMA adds it")


def check(recipe: EventFiguresRecipe) -> EventSet:
    """Open the data set.

    Raises:
        DataError: no manifest, no events, or no clip in the split that is judged.
    """
    return open_events(recipe.data, SECONDS)


def draw(recipe: EventFiguresRecipe, run: Run, context: Context) -> Drawing:
    """Make the drawing ready; see `Drawing`."""
    return Drawing(recipe, run, context)


class Drawing:
    """Made ready in its constructor, where everything that a user can have got wrong is found, drawn by `fit`.

    Args:
        recipe: what to draw.
        run: whose folder the pictures go to.
        context: where the shown runs lie.

    Raises:
        DataError: the manifest or a run is missing, or the run has no such features.
    """

    def __init__(self, recipe: EventFiguresRecipe, run: Run, context: Context) -> None:
        self.recipe, self.run, self.context = recipe, run, context
        self.shown = self._load(recipe.shown)
        self.beside = None if recipe.kind == "features" else self._load(recipe.against)
        self.events = open_events(recipe.data, self.shown.recipe.clip.seconds)
        if recipe.kind == "features" and not isinstance(self.shown.network.head, TACMA):
            raise DataError(f"{recipe.name}: the features of TACMA are drawn; name a run of it by shown.")

    def _load(self, run: RunOf) -> TrainedEvents:
        weights = self.context.weights_of(run.start, EVENT_WEIGHTS)
        assert weights is not None  # the recipe names a run
        return load(weights, None, self.context.device)

    def fit(self) -> Result:
        """Draw, and write result.json; its content is returned.

        Raises:
            MediaError: a clip cannot be read.
        """
        found = self._judged(self.shown)
        metrics = {"accuracy": _accuracy(found)}
        if self.beside is None:
            self._draw_features()
        else:
            other = self._judged(self.beside)
            metrics["beside"] = _accuracy(other)
            self._draw_pair(found, other)
        result: Result = {
            "task": self.recipe.task,
            "recipe": self.recipe.name,
            "row": self.recipe.default_row,
            "seed": self.recipe.seed,
            "data": {"dataset": self.recipe.data.dataset, "manifest": self.events.manifest.sha256},
            "metrics": metrics,
        }
        write_text(self.run.result_path, json.dumps(result, indent=2) + "\n")
        return result

    def _state(self, trained: TrainedEvents) -> tuple[EventState, NDArray[np.int64]]:
        numbers = self.events.of_split(self.recipe.data.eval_split)
        inputs = trained.source.inputs(trained.recipe, self.events, numbers)
        data = EventBatches(trained.recipe, self.events, numbers, plan_of(trained.recipe, len(numbers)))
        return EventState(trained.recipe, trained.network, data, inputs, trained.device), numbers

    def _judged(self, trained: TrainedEvents) -> Judged:
        state, numbers = self._state(trained)
        found = answer_all(state, state.data.batches_of(numbers))
        assert found is not None  # one process, and the split has clips
        return found

    def _draw_pair(self, found: Judged, other: Judged) -> None:
        names = self._names()
        if self.recipe.kind == "timeline":
            from asgmcli.tasks.event_localization.figures import draw_cases

            for name in PICTURES:
                draw_cases({names[0]: other, names[1]: found}, self.events, self.run.folder / name)
            return
        from asgmcli.report.confusion import confusion_pair

        classes = self.events.classes
        tables = {
            title: confusion_of(torch.from_numpy(one.predicted), torch.from_numpy(one.labels), len(classes)).numpy()
            for title, one in zip(names, (other, found), strict=True)
        }
        for name in PICTURES:
            confusion_pair(tables, classes, self.run.folder / name)

    def _names(self) -> tuple[str, str]:
        """Return what the picture calls the run beside and the shown one: their networks, or else their rows."""
        assert self.beside is not None  # a picture of two
        kinds = tuple(CALLED[trained.recipe.model.kind] for trained in (self.beside, self.shown))
        rows = tuple(run.row or run.recipe for run in (self.recipe.against, self.recipe.shown))
        beside, shown = kinds if kinds[0] != kinds[1] else rows
        return beside, shown if shown != beside else f"{shown}, shown"

    @torch.no_grad()
    def _draw_features(self) -> None:
        state, numbers = self._state(self.shown)
        head = self.shown.network.head
        assert isinstance(head, TACMA)
        parts: list[list[NDArray[np.float32]]] = [[] for _ in STREAMS]
        labels = []
        for batch in state.data.batches_of(numbers):
            features = state.network.features(*state.inputs.of(batch.windows, state.device))
            for part, values in zip(parts, (*features, *head.streams(*features)), strict=True):
                part.append(values.flatten(0, 1).float().cpu().numpy())
            labels.append(batch.labels.flatten().numpy())
        truth = np.concatenate(labels)
        chosen = self._chosen(truth)
        streams = {
            name: self._embedded(np.concatenate(part)[chosen]) for name, part in zip(STREAMS, parts, strict=True)
        }
        from asgmcli.tasks.event_localization.figures import draw_features

        names = [self.events.classes[number] for number in truth[chosen]]
        for name in PICTURES:
            draw_features(streams, names, self.run.folder / name)

    def _chosen(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        settings = self.recipe.features
        found = np.flatnonzero(np.isin(labels, settings.classes) & (labels != IGNORED))
        if len(found) < 3:
            raise DataError(f"{self.recipe.name}: {len(found)} segments are of features.classes; name others.")
        order = generator(self.recipe.seed, "points").permutation(len(found))
        kept: NDArray[np.int64] = np.sort(found[order[: settings.points]])
        return kept

    def _embedded(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return t-SNE's places [n, 2] of features [n, d]."""
        try:
            from sklearn.manifold import TSNE
        except ImportError as error:
            raise DataError("t-SNE needs scikit-learn: pip install 'asgm[ave]'") from error
        perplexity = min(self.recipe.features.perplexity, (len(values) - 1) / 3)
        made: NDArray[np.float32] = TSNE(
            perplexity=perplexity, init="pca", random_state=self.recipe.seed, learning_rate="auto"
        ).fit_transform(values)
        return made


def _accuracy(found: Judged) -> float:
    counts = found.labels != IGNORED
    return 100 * float((found.predicted == found.labels)[counts].mean())
