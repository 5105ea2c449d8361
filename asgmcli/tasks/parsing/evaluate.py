"""Scores of parsed seconds: both F-scores over all clips at once, the bag, and the F of each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from asgmcli.metrics.parsing import decode, summarize
from asgmcli.metrics.parsing_events import event_scores
from asgmcli.metrics.parsing_segments import class_scores, segment_scores
from asgmcli.nn.mmil import ParsingNetwork
from asgmcli.ranks.exchange import gathered
from asgmcli.recipe.parsing import ParsingEvaluation
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.parsing.batch import JudgedBatch
from asgmcli.tasks.parsing.data import Split, batches_of, chance_notes
from asgmcli.tasks.parsing.model import ParsingState
from asgmcli.tasks.parsing.truth import Truth
from asgmcli.train.batches import move
from asgmcli.train.task import Evaluation

PARTS = {"segment": segment_scores, "event": event_scores}
SHOWN = {"audio": "audio", "visual": "visual", "audio_visual": "audio-visual", "type": "Type@AV", "event": "Event@AV"}

TOLD = ("audio", "visual", "type")
"""F-scores of segments that are told with another clip's sound or picture."""


@dataclass(frozen=True)
class Answers:
    """Answers of a network for N windows, and their truth.

    Attributes:
        ids: of their clips.
        places: of the windows within these.
        clip: probabilities [N, C].
        frame: [N, T, 2, C].
        bags: [N, C] of 0 and 1.
        events: bool [N, 2, C, T], None where they are not known.
        real: bool [N, T].
    """

    ids: list[str]
    places: list[int]
    clip: NDArray[np.float32]
    frame: NDArray[np.float32]
    bags: NDArray[np.float32]
    events: NDArray[np.bool_] | None
    real: NDArray[np.bool_]


@torch.no_grad()
def answer(network: ParsingNetwork, loader: Iterable[JudgedBatch], device: torch.device) -> Answers | None:
    """Compute the answers for all ranks' windows, in their order; None on ranks but the first, and for none."""
    network.eval()
    found: list[Answers] = []
    for batch in loader:
        moved = move(batch.inputs, device)
        parsed = network(moved.audio, moved.image, moved.motion)
        clip, frame = (part.float().cpu().numpy() for part in (parsed.clip, parsed.frame))
        events = None if batch.events is None else batch.events.numpy()
        bags = batch.inputs.target.numpy()
        found.append(Answers(batch.ids, batch.places, clip, frame, bags, events, batch.real.numpy()))
    found = gathered(found)
    return _joined(found) if found else None


def _joined(parts: list[Answers]) -> Answers:
    events = [part.events for part in parts if part.events is not None]
    return Answers(
        [name for part in parts for name in part.ids],
        [place for part in parts for place in part.places],
        np.concatenate([part.clip for part in parts]),
        np.concatenate([part.frame for part in parts]),
        np.concatenate([part.bags for part in parts]),
        np.concatenate(events) if events else None,
        np.concatenate([part.real for part in parts]),
    )


def decoded(settings: ParsingEvaluation, answers: Answers) -> NDArray[np.bool_]:
    """Return bool [N, 2, C, T]: what is heard and seen, nothing in seconds that are not of the clip.

    With the true bag in place of the predicted one, a clip has its labels and no other.
    """
    clip = torch.from_numpy(answers.clip)
    if settings.bag == "true":
        clip = torch.where(torch.from_numpy(answers.bags) > 0, torch.inf, -torch.inf)
    grid: NDArray[np.bool_] = decode(clip, torch.from_numpy(answers.frame), settings.threshold).numpy()
    return grid & answers.real[:, None, None, :]


def bag_f(settings: ParsingEvaluation, answers: Answers) -> float:
    """Return the micro F of the bags, percent: hits and misses counted over all clips and classes."""
    guess, true = answers.clip >= settings.threshold, answers.bags > 0
    hits, wrong = 2 * int((guess & true).sum()), int((guess ^ true).sum())
    return 100 * hits / (hits + wrong) if hits + wrong else 100.0


def measure(settings: ParsingEvaluation, answers: Answers) -> dict[str, float]:
    """Return `segment_*` and `event_*` in percent where events are known, and `bag_f`."""
    metrics: dict[str, float] = {}
    if answers.events is not None:
        grid = decoded(settings, answers)
        for part, scores in PARTS.items():
            metrics |= {f"{part}_{name}": value for name, value in summarize(scores(grid, answers.events)).items()}
    return {**metrics, "bag_f": bag_f(settings, answers)}


def evaluate(state: ParsingState, loader: Iterable[JudgedBatch]) -> Evaluation:
    """Measure both F-scores of the windows in `loader`, or the F of their bags where nothing else is known."""
    answers = answer(state.network, loader, state.device)
    if answers is None:
        return Evaluation({})
    classes, clips = state.data.manifest.classes, tuple(answers.ids)
    if clips not in state.chance:
        state.chance[clips] = chance_of(answers)
    evaluation = evaluation_of(state.recipe.evaluate, answers, classes, state.chance[clips])
    if answers.events is not None:
        from asgmcli.tasks.parsing.figures import case_figures  # matplotlib, once a run

        evaluation.figures.update(case_figures(state.recipe.evaluate, answers, state.data.manifest))
    return evaluation


def exchange(
    network: ParsingNetwork, split: Split, settings: ParsingEvaluation, device: torch.device, own: Answers | None
) -> Evaluation:
    """Judge a split's windows with another clip's sound, and with another clip's picture: what each is used for.

    Seconds beyond the other clip's end do not count, nor for the windows as they are.

    Args:
        network: that parses.
        split: the windows, which all ranks judge together.
        settings: of the evaluation.
        device: of the network.
        own: the answers for the windows as they are, None on other ranks than the first.

    Returns:
        `segment_audio_other_sound`, `segment_visual_other_sound`, `segment_type_other_sound`, the same with a picture,
        and a table beside their own; nothing where events are not known or there is one clip, and on other ranks than
        the first.
    """
    columns = [f"segment_{name}" for name in SHOWN]
    places = split.others
    others = {what: split.with_other(what) for what in ("sound", "picture") if split.truth.events is not None}
    found = {
        what: answer(network, batches_of(other, settings.batch), device)
        for what, other in others.items()
        if other is not None
    }
    rows: list[list[Cell]] = []
    metrics: dict[str, float] = {}
    for what, answers in {"": own, **found}.items():
        if answers is None or not found:
            return Evaluation({})
        measured = measure(settings, _within(answers, split.truth.real[places]))
        rows.append([f"another's {what}" if what else "its own", *(measured[name] for name in columns)])
        if what:
            metrics |= {f"segment_{name}_other_{what}": measured[f"segment_{name}"] for name in TOLD}
    title = "What is used: F-scores of segments, percent"
    return Evaluation(metrics, {"exchange": Table(title, ["with", *SHOWN.values()], rows)})


def _within(answers: Answers, seconds: NDArray[np.bool_]) -> Answers:
    """Return answers of which nothing counts, nor is true, without `seconds` [N, T]."""
    assert answers.events is not None
    return replace(answers, events=answers.events & seconds[:, None, None, :], real=answers.real & seconds)


def chance_of(answers: Answers) -> list[str]:
    """Return what needs no network, in words; nothing where no events are known."""
    return chance_notes(Truth(answers.bags, answers.events, answers.real))


def evaluation_of(
    settings: ParsingEvaluation, answers: Answers, classes: list[str], below: Sequence[str]
) -> Evaluation:
    """Return metrics and tables of answers; `below` stands under the first of them."""
    metrics = measure(settings, answers)
    tables = {}
    if answers.events is not None:
        lines: list[list[Cell]] = [
            [part, *(metrics[f"{part}_{name}"] for name in SHOWN), metrics["bag_f"] if part == "segment" else None]
            for part in PARTS
        ]
        title = f"Parsing of {len(answers.ids)} windows, F-scores in percent"
        tables["parsing"] = Table(title, ["", *SHOWN.values(), "bag"], lines, notes=below)
        each = 100 * class_scores(decoded(settings, answers), answers.events)
        rows: list[list[Cell]] = [
            [name, *(None if np.isnan(value) else float(value) for value in each[:, place])]
            for place, name in enumerate(classes)
        ]
        columns = ["class", "audio", "visual", "audio-visual"]
        tables["classes"] = Table("F-score of each class over the seconds of all clips, percent", columns, rows)
    return Evaluation(metrics, tables)
