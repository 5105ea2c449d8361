"""One training step: the cross-entropy of segments, or of whole videos under weak supervision; PSP's pair loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.losses.pair_similarity import pair_similarity_loss, pair_target
from asgmcli.metrics.segments import IGNORED
from asgmcli.ranks.exchange import summed
from asgmcli.tasks.event_localization.batch import Batch
from asgmcli.tasks.event_localization.model import EventState


def train_step(state: EventState, batch: Batch) -> dict[str, Tensor]:
    """Return the loss terms of one batch.

    Args:
        state: of the run.
        batch: on the device of the network.
    """
    logits, similarity = state.network(*state.inputs.of(batch.windows, state.device))
    logits = logits.float()
    if state.recipe.supervision == "weak":
        real = torch.from_numpy(state.data.events.labels[batch.windows.cpu().numpy()] != IGNORED).to(state.device)
        loss = _mean(F.cross_entropy(pooled(logits, real, state.recipe.weak.pool), batch.category, reduction="none"))
        return {"loss": loss}
    losses = state.recipe.losses
    terms = {"segments": segment_loss(logits, batch.labels, released=losses.kind == "released")}
    loss = terms["segments"]
    if losses.pair.weight and similarity is not None:
        target = pair_target(batch.labels, logits.shape[-1] - 1)
        terms["pair"] = pair_similarity_loss(similarity, target) * _share(len(target))
        loss = loss + losses.pair.weight * terms["pair"]
    return {"loss": loss, **{name: value.detach() for name, value in terms.items()}}


def segment_loss(logits: Tensor, labels: Tensor, *, released: bool = False) -> Tensor:
    """Return the mean loss over the segments that are of a clip, those of all ranks.

    Args:
        logits: [B, T, K].
        labels: int64 [B, T], -1 beyond the clip.
        released: AVEL's loss: multi-label soft margin on softmax output, which is then put through a sigmoid.
    """
    counts = labels != IGNORED
    chosen, true = logits[counts], labels[counts]
    if released:
        target = F.one_hot(true, logits.shape[-1]).float()
        return _mean(F.multilabel_soft_margin_loss(chosen.softmax(-1), target, reduction="none"))
    return _mean(F.cross_entropy(chosen, true, reduction="none"))


def pooled(logits: Tensor, real: Tensor, pool: str) -> Tensor:
    """Return a video's logits [B, K]: the mean or maximum of its segments' [B, T, K], of those that are `real`."""
    if pool == "max":
        return logits.masked_fill(~real[..., None], -torch.inf).amax(1)
    shares = real.float() / real.sum(1, keepdim=True)
    return (logits * shares[..., None]).sum(1)


def _mean(values: Tensor) -> Tensor:
    """Return the mean over all ranks' values [n]: averaged over ranks it is the loss, and its gradient, of one."""
    return values.mean() * _share(len(values)) if len(values) else values.sum()


def _share(count: int) -> float:
    """Return the weight of a mean over this rank's `count` values in all ranks' mean: 1 where all have as many."""
    whole, ranks = summed(count)
    return count * ranks / whole
