"""Evaluation of the pretext: on clips of another seed, beside what guessing gives."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from asgmcli.report.table import Table
from asgmcli.tasks.pretext.batch import Batch
from asgmcli.tasks.pretext.model import PretextState
from asgmcli.tasks.pretext.step import cells_here
from asgmcli.train.batches import move
from asgmcli.train.task import Evaluation


@torch.no_grad()
def evaluate(state: PretextState, loader: Iterable[Batch]) -> Evaluation:
    """Return the percentage right: each clip's k most likely shapes and motions (k of each), timbre and envelope, and
    the cells that show something.
    """
    state.network.eval()
    right: dict[str, list[Tensor]] = {}
    guessed: dict[str, list[Tensor]] = {}
    for batch in loader:
        batch = move(batch, state.device)
        answers = state.network(batch.inputs)
        for name in state.network.heads:
            logits, truth = answers[name], getattr(batch.truth, name)
            hits, chance = _set_hits(logits, truth) if truth.dim() == 2 else _class_hits(logits, truth)
            right.setdefault(name, []).append(hits)
            guessed.setdefault(name, []).append(chance)
        if "patch_shapes" in answers:
            here, _ = cells_here(batch, answers["patch_shapes"].shape[1], state.network.body.grid)
            hits, chance = _class_hits(answers["patch_shapes"][here > 0], here[here > 0])
            right.setdefault("cells", []).append(hits)
            guessed.setdefault("cells", []).append(chance)
    metrics = {name: 100 * float(torch.cat(hits).mean()) for name, hits in right.items()}
    chances = {name: 100 * float(torch.cat(chance).mean()) for name, chance in guessed.items()}
    table = Table(
        "Pretext, on clips of another seed",
        ["what", "right, %", "guessing, %"],
        [[name, metrics[name], chances[name]] for name in metrics],
    )
    return Evaluation(metrics, {"pretext": table})


def _set_hits(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share [B] of a clip's k things among the k most likely, and a guess's; clips without any left out."""
    present = truth.sum(dim=1)
    logits, truth, present = logits[present > 0], truth[present > 0], present[present > 0]
    ranks = logits.argsort(dim=1, descending=True).argsort(dim=1)
    hits = ((ranks < present[:, None]) & truth.bool()).sum(dim=1) / present
    return hits, present / truth.shape[1]


def _class_hits(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    hits = (logits.argmax(dim=1) == truth).float()
    return hits, torch.full_like(hits, 1 / logits.shape[1])
