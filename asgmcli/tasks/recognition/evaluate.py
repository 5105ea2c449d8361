"""Softmax averaged over clips x crops of each video; top-1, top-5, a line a class, the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    """Evaluate the teacher on every video of all ranks' loaders; the result is on the first rank only.

    Metrics of a further split bear its name: `top1_shuffled` on test_shuffled beside test.
    """
    seen = gathered(list(_predict_batches(state.teacher, loader, state.device)))
    if not seen:
        return Evaluation({})
    scores, labels = _whole(seen)
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
    """Of a batch: probabilities [n, K], averaged over each video's views, labels [n], and the clips' splits."""

    scores: torch.Tensor
    labels: torch.Tensor
    splits: list[str]


def predict(
    network: ASGMFormer, loader: Iterable[EvaluationBatch], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probabilities [n, K], averaged over each video's views, and labels [n]."""
    return _whole(list(_predict_batches(network, loader, device)))


def predict_together(
    network: ASGMFormer, loader: Iterable[EvaluationBatch], device: torch.device
) -> torch.Tensor | None:
    """Return probabilities [n, K] of the clips in all ranks' loaders, in order; None on every rank but the first."""
    seen = gathered(list(_predict_batches(network, loader, device)))
    return _whole(seen)[0] if seen else None


def _whole(seen: list[ScoredBatch]) -> tuple[torch.Tensor, torch.Tensor]:
    """Join all batches' scores, and their labels."""
    return torch.cat([part.scores for part in seen]), torch.cat([part.labels for part in seen])


def _predict_batches(
    network: ASGMFormer, loader: Iterable[EvaluationBatch], device: torch.device
) -> Iterator[ScoredBatch]:
    """Yield the network's scores of each batch."""
    network.eval()
    for batch in loader:
        with torch.no_grad():
            batch = move(batch, device)
            videos, views = batch.video.shape[:2]
            audio = batch.audio.flatten(0, 1) if batch.audio is not None else None
            logits = network(network.normalise(batch.video.flatten(0, 1)), audio)
            scores = logits.float().softmax(dim=1).view(videos, views, -1).mean(dim=1)
        yield ScoredBatch(scores.cpu(), batch.label.cpu(), batch.splits)


def evaluation_of(scores: torch.Tensor, labels: torch.Tensor, classes: list[str]) -> Evaluation:
    """Return metrics in percent, a table a class and the confusion matrix of scores [n, K] against labels [n]."""
    from asgmcli.tasks.recognition import confusion  # matplotlib, once a run

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
