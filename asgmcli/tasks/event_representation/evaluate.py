"""The finished encoder on all clips, and the accuracy of probes on what it made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from asgmcli.metrics.segments import segment_metrics
from asgmcli.nn.backbones import Reduced
from asgmcli.nn.tacma import Modality
from asgmcli.prepare.event_set import EventSet
from asgmcli.ranks.exchange import gathered, own_rank
from asgmcli.recipe.events import EventData
from asgmcli.report.confusion import confusion_matrix
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.event_representation.batch import WholeBatch
from asgmcli.tasks.event_representation.model import RepresentationState
from asgmcli.train.batches import move
from asgmcli.train.encoder import encode
from asgmcli.train.probe import Encoded, Parts, fit_probe
from asgmcli.train.task import Evaluation

CHANCES = ("always_background", "right_event")


def evaluate(state: RepresentationState, loader: Iterable[WholeBatch]) -> Evaluation:
    """Encode every window of `loader`, keep the features for the run's store, and fit the probes on them."""
    found = _encoded(state, loader)
    if found is None:
        return Evaluation({})
    state.encoded = found
    recipe = state.recipe
    parts = _parts(state.data.events, recipe.data)
    tables = {modality: fit_probe(found, parts, modality, recipe.probe, recipe.seed) for modality in _modalities(state)}
    whole = segment_metrics(tables["both"])
    metrics = {"accuracy": whole["accuracy"]}
    metrics |= {name: segment_metrics(tables[name])["accuracy"] for name in tables if name != "both"}
    metrics |= {name: whole[name] for name in CHANCES}
    paper = recipe.rows[recipe.default_row].paper
    classes = state.data.events.classes
    draw = partial(confusion_matrix, tables["both"].numpy(), classes, title="Probe on both", unit="segments")
    return Evaluation(metrics, {"probes": probe_table(metrics, paper, len(parts.test))}, {"confusion": draw})


def _modalities(state: RepresentationState) -> tuple[Modality, ...]:
    """Return what probes take: with an attention the picture is never seen without the sound."""
    return ("both",) if state.recipe.attention == "agva" else ("both", "audio", "visual")


def _parts(events: EventSet, data: EventData) -> Parts:
    return Parts(*(events.of_split(split) for split in (data.train_split, data.val_split, data.eval_split)))


@torch.no_grad()
def _encoded(state: RepresentationState, loader: Iterable[WholeBatch]) -> Encoded | None:
    """Return all windows' features, of all ranks' loaders, in order; None on other ranks than the first."""
    state.network.eval()
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for batch in loader:
        f_a, f_v = _encode(state, move(batch, state.device))
        seen.append((batch.windows.numpy(), f_a.numpy(), f_v.numpy()))
    seen = gathered(seen)
    if own_rank() or not seen:
        return None
    events = state.data.events
    order = np.argsort(np.concatenate([numbers for numbers, *_ in seen]), kind="stable")
    audio, visual = (np.concatenate([part[place] for part in seen])[order] for place in (1, 2))
    labels = torch.from_numpy(events.labels[: len(order)])
    # As the store keeps them: a run that builds on it sees the same numbers.
    kept = [torch.from_numpy(values).half().float().to(state.device) for values in (audio, visual)]
    return Encoded(kept[0], kept[1], labels.to(state.device), len(events.classes))


def _encode(state: RepresentationState, batch: WholeBatch) -> tuple[Tensor, Tensor]:
    encoder = state.encoder
    if batch.inputs is not None:
        return encode(encoder, batch.inputs.frames, batch.inputs.patches)
    assert state.known is not None
    assert isinstance(encoder.visual, Reduced)
    audio, visual = state.known.mean(batch.windows)
    f_a, f_v = encoder.temporal(audio, encoder.visual.reduce(visual))
    return f_a.cpu(), f_v.cpu()


def probe_table(metrics: Mapping[str, float], paper: Mapping[str, float], windows: int) -> Table:
    """Return the accuracies beside the paper's, if any, and below them what needs no network."""
    names = {"accuracy": "probe on both", "audio": "probe on sound", "visual": "probe on picture"}
    names |= {"always_background": "always background", "right_event": "the right event everywhere"}
    columns = ["segments", "accuracy, %", *(["paper"] if paper else [])]
    rows: list[list[Cell]] = [[names[name], value] for name, value in metrics.items()]
    if paper:
        rows = [[*row, paper.get(name)] for row, name in zip(rows, metrics, strict=True)]
    return Table(f"Events in {windows} windows", columns, rows)
