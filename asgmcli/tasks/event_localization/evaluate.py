"""The event of each segment against the truth: accuracy, what stands beside it, confusions, and clips as timelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asgmcli.data.plan import next_windows
from asgmcli.metrics.segments import IGNORED, confusion_of, segment_metrics
from asgmcli.prepare.event_set import EventSet
from asgmcli.ranks.exchange import gathered, own_rank
from asgmcli.report.confusion import confusion_matrix
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.event_localization.batch import Batch
from asgmcli.tasks.event_localization.model import EventState
from asgmcli.train.batches import move
from asgmcli.train.task import Evaluation

NAMES = {
    "accuracy": "accuracy",
    "event_accuracy": "of event segments",
    "background_accuracy": "of background segments",
    "class_accuracy": "mean over classes",
    "event_f1": "F1 of event segments",
    "several_accuracy": "of clips with several events",
    "always_background": "always background (no network)",
    "right_event": "the right event everywhere (no network)",
}
"""Measures, as tables call them."""
SENSES = ("sound", "picture")


@dataclass(frozen=True)
class Judged:
    """Windows that were judged: numbers [n], predicted classes, their probabilities, and true classes [n, T]."""

    numbers: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.float64]:
        """Return the share of segments of each window that are right, [n]."""
        counts = self.labels != IGNORED
        hits = ((self.predicted == self.labels) & counts).sum(1)
        share: NDArray[np.float64] = hits / np.maximum(counts.sum(1), 1)
        return share


def evaluate(state: EventState, loader: Iterable[Batch]) -> Evaluation:
    """Judge every window of `loader`; an empty evaluation on other ranks than the first."""
    found = answer_all(state, loader)
    if found is None:
        return Evaluation({})
    paper = state.recipe.rows[state.recipe.default_row].paper
    return evaluation_of(found, state.data.events, paper, weak=state.recipe.supervision == "weak")


@torch.no_grad()
def answer_all(state: EventState, loader: Iterable[Batch], others: Mapping[str, Tensor] | None = None) -> Judged | None:
    """Return the answers for every window of all ranks' loaders; None if there is none, and on other ranks.

    Args:
        state: of the run.
        loader: of the windows.
        others: of the `sound` or the `picture`, for every window the number of the one whose is taken, int64 [N].
    """
    hear, see = ((others or {}).get(what) for what in SENSES)
    state.network.eval()
    seen = []
    background = len(state.data.events.classes) - 1
    for batch in loader:
        moved = move(batch, state.device)
        heard, seen_ = (moved.windows if other is None else other[batch.windows] for other in (hear, see))
        sound = state.inputs.sound_of(heard, state.device)
        logits, _ = state.network(sound, state.inputs.picture_of(seen_, state.device))
        if state.recipe.supervision == "weak":
            logits = logits[..., :background]  # never a target of the training
        seen.append((batch.windows.numpy(), *answers(logits), batch.labels.numpy()))
    seen = gathered(seen)
    if own_rank() or not seen:
        return None
    parts = [np.concatenate([part[place] for part in seen]) for place in range(4)]
    order = np.argsort(parts[0], kind="stable")
    return Judged(*(part[order] for part in parts))


def exchange(state: EventState, numbers: NDArray[np.int64], own: Judged | None) -> Evaluation:
    """Judge windows with another clip's sound, and with another clip's picture: what each is used for.

    Seconds beyond the other clip's end do not count, nor for the windows as they are.

    Args:
        state: of the run.
        numbers: of the windows, the same on all ranks, which judge them together.
        own: the answers for them as they are, None on other ranks than the first.

    Returns:
        `accuracy_other_sound` and `accuracy_other_picture`, and a table beside their own; nothing where the network
        takes one of them alone or there is one clip, and on other ranks than the first.
    """
    events = state.data.events
    places = next_windows([events.windows[number].row.id for number in numbers])
    if not places or state.recipe.model.modality != "both":
        return Evaluation({})
    other = torch.arange(len(events.windows))
    other[torch.from_numpy(numbers)] = torch.from_numpy(numbers)[places]
    found = {what: answer_all(state, state.data.batches_of(numbers), {what: other}) for what in SENSES}
    columns = ["accuracy", "event_accuracy", "background_accuracy"]
    rows: list[list[Cell]] = []
    metrics = {}
    for what, judged in {"": own, **found}.items():
        if judged is None:
            return Evaluation({})
        both = events.labels[other[torch.from_numpy(judged.numbers)].numpy()] != IGNORED
        measured = segment_metrics(_counts(replace(judged, labels=np.where(both, judged.labels, IGNORED)), events))
        rows.append([f"another's {what}" if what else "its own", *(measured.get(name) for name in columns)])
        if what:
            metrics[f"accuracy_other_{what}"] = measured["accuracy"]
    table = Table("What is used: segments right, percent", ["with", *(NAMES[name] for name in columns)], rows)
    return Evaluation(metrics, {"exchange": table})


def answers(logits: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the likeliest class of each segment and its probability, [B, T] each, of logits [B, T, K]."""
    probability, predicted = logits.float().softmax(-1).max(-1)
    # argmax takes the first of equal logits, which softmax could round apart.
    predicted = logits.argmax(-1)
    return predicted.cpu().numpy(), probability.cpu().numpy()


def evaluation_of(found: Judged, events: EventSet, paper: Mapping[str, float], *, weak: bool = False) -> Evaluation:
    """Return metrics in percent beside the paper's, tables, the confusions, and timelines of some clips."""
    counts = _counts(found, events)
    metrics = _with_several(segment_metrics(counts), found, events)
    clips = len({events.windows[number].row.id for number in found.numbers})
    tables = {"events": measures(metrics, paper, clips, weak=weak), "classes": by_class(counts, events.classes)}
    figures: dict[str, Callable[[Path], object]] = {
        "confusion": partial(confusion_matrix, counts.numpy(), events.classes, title="Segments", unit="segments"),
        "timeline": partial(draw_cases, found, events),
    }
    return Evaluation(metrics, tables, figures)


def _counts(found: Judged, events: EventSet) -> Tensor:
    """Return the confusions of what was judged, [K, K]."""
    return confusion_of(torch.from_numpy(found.predicted), torch.from_numpy(found.labels), len(events.classes))


def _with_several(metrics: dict[str, float], found: Judged, events: EventSet) -> dict[str, float]:
    """Return the measures with the accuracy of clips that have several events, where some have and some have not."""
    spans = events.source.segments
    several = np.array([len(spans.get(events.windows[number].row.id, ())) > 1 for number in found.numbers])
    real = found.labels[several] != IGNORED
    if several.all() or not real.any():
        return metrics
    right = float((found.predicted == found.labels)[several][real].mean())
    kept = list(metrics.items())
    place = next(number for number, (name, _) in enumerate(kept) if name == "always_background")
    return dict([*kept[:place], ("several_accuracy", 100 * right), *kept[place:]])


def measures(metrics: Mapping[str, float], paper: Mapping[str, float], clips: int, *, weak: bool = False) -> Table:
    """Return the measures beside the paper's, if any."""
    columns = ["segments", "percent", *(["paper"] if paper else [])]
    rows: list[list[Cell]] = [[NAMES[name], value] for name, value in metrics.items()]
    if paper:
        rows = [[*row, paper.get(name)] for row, name in zip(rows, metrics, strict=True)]
    note = "Background is never a target of weak supervision: the right event everywhere is the most." if weak else ""
    return Table(f"Events in {clips} clips", columns, rows, note)


def by_class(counts: Tensor, classes: list[str]) -> Table:
    """Return segments and accuracy of each class."""
    rows: list[list[Cell]] = []
    for number, name in enumerate(classes):
        total, named = int(counts[number].sum()), int(counts[:, number].sum())
        right = int(counts[number, number])
        rows.append([name, total, 100 * right / total if total else None, 100 * right / named if named else None])
    return Table("Classes", ["class", "segments", "found, %", "of those named right, %"], rows, digits=1)


def draw_cases(found: Judged, events: EventSet, path: Path) -> Path:
    """Draw the timelines of the best, the median and the worst clips, see `figures.draw_cases`."""
    from asgmcli.tasks.event_localization.figures import draw_cases  # matplotlib and decoding, once a run

    return draw_cases({"answer": found}, events, path)
