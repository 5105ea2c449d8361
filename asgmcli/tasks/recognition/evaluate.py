"""Softmax averaged over clips x crops of each video; top-1, top-5, a line a class, the confusion matrix; and top-1 with
another clip's picture or sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from asgmcli.data.split import partners_by_class
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
    seen = score((networks[judged], networks[other]), loader, state.device)
    if not seen:
        return Evaluation({})
    evaluation = _evaluation_of_splits(state, seen, 0)
    main = [part.of_split(state.recipe.data.eval_split) for part in seen]
    evaluation.metrics.update(exchange_metrics(networks[judged], main, state.data.classes))
    beside = _evaluation_of_splits(state, seen, 1).metrics
    evaluation.metrics.update({f"{name}_{other}": value for name, value in beside.items()})
    return evaluation


def _evaluation_of_splits(state: RecognitionState, seen: list[ScoredBatch], network: int) -> Evaluation:
    """Return what a network's scores give on the evaluation split, and the metrics of the others beside it."""
    scores, labels = whole(seen, network)
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
    """Of a batch: each network's probabilities [n, K], averaged over a video's views, labels [n], the clips' splits and
    ids; `tokens` [n, 2, D], the first network's class tokens of picture and sound in each video's middle view, None for
    one that lacks a sense."""

    scores: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    splits: list[str]
    ids: list[str]
    tokens: torch.Tensor | None

    def of_split(self, split: str) -> ScoredBatch:
        """Return the clips of one split alone."""
        chosen = [place for place, name in enumerate(self.splits) if name == split]
        tokens = None if self.tokens is None else self.tokens[chosen]
        names = [self.ids[place] for place in chosen]
        return ScoredBatch(
            tuple(scores[chosen] for scores in self.scores), self.labels[chosen], [split] * len(chosen), names, tokens
        )


def predict(
    networks: Sequence[ASGMFormer], loader: Iterable[EvaluationBatch], device: torch.device
) -> list[torch.Tensor]:
    """Return each network's probabilities [n, K], averaged over each video's views, of the clips in all ranks' loaders,
    in order; none on other ranks than the first."""
    seen = score(networks, loader, device)
    return [whole(seen, number)[0] for number in range(len(networks))] if seen else []


def score(networks: Sequence[ASGMFormer], loader: Iterable[EvaluationBatch], device: torch.device) -> list[ScoredBatch]:
    """Return the scores of the batches in all ranks' loaders, in order; none on other ranks than the first."""
    return gathered(list(_predict_batches(networks, loader, device)))


def exchange_metrics(network: ASGMFormer, seen: Sequence[ScoredBatch], classes: Sequence[str]) -> dict[str, float]:
    """Return `top1_other_picture` and `top1_other_sound`, percent: with another clip's picture, with another's sound.

    A label is that of the part which is the clip's own. See `exchanged_scores`.
    """
    labels = torch.cat([part.labels for part in seen])
    found = exchanged_scores(network, seen, classes)
    return {f"top1_other_{what}": top_k(scores, labels, 1) for what, scores in found.items()}


@torch.no_grad()
def exchanged_scores(
    network: ASGMFormer, seen: Sequence[ScoredBatch], classes: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return probabilities [n, K] of clips with another's `picture`, and with another's `sound`.

    Clips are dealt in a circle by class. Each video's middle view alone is looked at, and class tokens are exchanged,
    so that nothing is encoded twice. Nothing without two senses, or where clips are of one class.

    Args:
        network: the first of those that scored.
        seen: of clips with a label.
        classes: names in the order of the scores.
    """
    tokens = [part.tokens for part in seen if part.tokens is not None]
    labels = torch.cat([part.labels for part in seen])
    if not tokens or network.fusion is None or len(labels.unique()) < 2:
        return {}
    names = [name for part in seen for name in part.ids]
    partner = torch.tensor(partners_by_class([classes[label] for label in labels.tolist()], names))
    device = network.mean.device
    picture, sound = torch.cat(tokens).to(device).unbind(1)
    pairs = {"picture": (picture[partner], sound), "sound": (picture, sound[partner])}
    return {what: network.fusion(*pair).float().softmax(dim=1).cpu() for what, pair in pairs.items()}


def whole(seen: Sequence[ScoredBatch], network: int) -> tuple[torch.Tensor, torch.Tensor]:
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
            found = [_scores(network, batch) for network in networks]
        scores = tuple(of_network.cpu() for of_network, _ in found)
        yield ScoredBatch(scores, batch.label.cpu(), batch.splits, batch.ids, found[0][1])


def _scores(network: ASGMFormer, batch: EvaluationBatch) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return probabilities [B, K], averaged over the views of each video, and both class tokens [B, 2, D] of the middle
    view on the CPU, None where there is one alone."""
    videos, views = batch.video.shape[:2]
    audio = batch.audio.flatten(0, 1) if batch.audio is not None else None
    video = network.normalise(batch.video.flatten(0, 1)) if network.video is not None else None
    found = network.classify(None if video is None else network.embed(video), audio)
    mean = found.logits.float().softmax(dim=1).view(videos, views, -1).mean(dim=1)
    if found.video is None or found.audio is None:
        return mean, None
    both = torch.stack([found.video, found.audio], dim=1).view(videos, views, 2, -1)
    return mean, both[:, views // 2].float().cpu()


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
