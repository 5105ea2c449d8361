"""Softmax averaged over clips x crops of each video; top-1, top-5, a line a class, the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from asgmcli.metrics.accuracy import confusion_matrix, per_class, top_k
from asgmcli.ranks.exchange import gathered
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.recognition.batch import EvaluationBatch
from asgmcli.tasks.recognition.model import ASGMFormer, RecognitionState
from asgmcli.train.batches import move
from asgmcli.train.task import Evaluation


def evaluate(state: RecognitionState, loader: Iterable[EvaluationBatch]) -> Evaluation:
    """Evaluate student and teacher on every video of all ranks' loaders; the result is on the first rank only.

    Metrics of a further split bear its name: `top1_shuffled` on test_shuffled beside test. Those of the network that
    `evaluate.network` does not name bear its own: `top1_student` beside the teacher's `top1`.
    """
    networks = {"student": state.student, "teacher": state.teacher}
    judged = state.recipe.evaluate.network
    (other,) = networks.keys() - {judged}
    seen = gathered(list(_predict_batches((networks[judged], networks[other]), loader, state.device)))
    if not seen:
        return Evaluation({})
    evaluation = _evaluation_of_splits(state, seen, 0)
    beside = _evaluation_of_splits(state, seen, 1).metrics
    evaluation.metrics.update({f"{name}_{other}": value for name, value in beside.items()})
    return evaluation


def _evaluation_of_splits(state: RecognitionState, seen: list[ScoredBatch], network: int) -> Evaluation:
    """Return what a network's scores give on the evaluation split, and the metrics of the others beside it."""
    scores, labels = _whole(seen, network)
    splits = [split for part in seen for split in part.splits]
    main = state.recipe.data.eval_split
    found = {}
    for split in dict.fromkeys(splits):
        chosen = torch.tensor([name == split for name in splits])
        found[split] = evaluation_of(scores[chosen], labels[chosen], state.data.classes)
    evaluation = found.pop(main)
    for split, other in found.items():
        ending = split.removeprefix(f"{main}_")
        evaluation.metrics.update({f"{name}_{ending}": value for name, value in other.metrics.items()})
    return evaluation


@dataclass(frozen=True)
class ScoredBatch:
    """Of a batch: each network's probabilities [n, K], averaged over a video's views, labels [n], the clips' splits."""

    scores: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    splits: list[str]


def predict(
    networks: Sequence[ASGMFormer], loader: Iterable[EvaluationBatch], device: torch.device
) -> list[torch.Tensor]:
    """Return each network's probabilities [n, K], averaged over each video's views, of the clips in all ranks' loaders,
    in order; none on other ranks than the first."""
    seen = gathered(list(_predict_batches(networks, loader, device)))
    return [_whole(seen, number)[0] for number in range(len(networks))] if seen else []


def _whole(seen: list[ScoredBatch], network: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Join all batches' scores of a network, and their labels."""
    return torch.cat([part.scores[network] for part in seen]), torch.cat([part.labels for part in seen])


def _predict_batches(
    networks: Sequence[ASGMFormer], loader: Iterable[EvaluationBatch], device: torch.device
) -> Iterator[ScoredBatch]:
    """Yield each network's scores of each batch, which is read once."""
    for network in networks:
        network.eval()
    for batch in loader:
        with torch.no_grad():
            batch = move(batch, device)
            scores = tuple(_scores(network, batch).cpu() for network in networks)
        yield ScoredBatch(scores, batch.label.cpu(), batch.splits)


def _scores(network: ASGMFormer, batch: EvaluationBatch) -> torch.Tensor:
    """Return probabilities [B, K], averaged over the views of each video."""
    videos, views = batch.video.shape[:2]
    audio = batch.audio.flatten(0, 1) if batch.audio is not None else None
    video = network.normalise(batch.video.flatten(0, 1)) if network.video is not None else None
    logits: torch.Tensor = network(video, audio)
    return logits.float().softmax(dim=1).view(videos, views, -1).mean(dim=1)


def evaluation_of(scores: torch.Tensor, labels: torch.Tensor, classes: list[str]) -> Evaluation:
    """Return metrics in percent, a table a class and the confusion matrix of scores [n, K] against labels [n]."""
    from asgmcli.report import confusion  # matplotlib, once a run

    metrics = {"top1": top_k(scores, labels, 1), "top5": top_k(scores, labels, 5)}
    matrix = confusion_matrix(scores, labels)
    accuracy = per_class(scores, labels)
    rows: list[list[Cell]] = []
    for index, name in enumerate(classes):
        clips = int(matrix[index].sum())
        mistakes = matrix[index].clone()
        mistakes[index] = 0
        worst = f"{classes[int(mistakes.argmax())]} ({int(mistakes.max())})" if int(mistakes.max()) else ""
        rows.append([name, clips, float(accuracy[index]) if clips else None, worst])
    table = Table("Accuracy by class", ["class", "clips", "top-1, %", "most often taken for"], rows)
    draw = partial(confusion.confusion_matrix, matrix.numpy(), classes)
    return Evaluation(metrics, {"classes": table}, {"confusion": draw})
