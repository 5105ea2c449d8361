"""One training step of the pretext: what is seen, where it is seen, and what is heard."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.tasks.pretext.batch import Batch
from asgmcli.tasks.pretext.model import PretextState
from asgmcli.tasks.pretext.targets import patch_targets

EMPTY_WEIGHT = 0.3  # of patches without a sprite, which are most
STEM_WEIGHT = 0.5  # of what a stem of convolutions alone is asked


def train_step(state: PretextState, batch: Batch) -> dict[str, Tensor]:
    """Return the summed cross-entropies of class token and patches; motion is predicted for clips only.

    Args:
        state: of the run.
        batch: on the device of the network.
    """
    heard = math.ceil(state.recipe.generated.heard_share * len(batch.ids))
    truth = batch.truth
    logits = state.network(replace(batch.inputs, sound=batch.inputs.sound[:heard]))
    terms: dict[str, Tensor] = {}
    if "patch_shapes" in logits:
        times = logits["patch_shapes"].shape[1]
        shapes_here, motions_here = cells_here(batch, times, state.network.body.grid)
        terms["shapes"] = F.binary_cross_entropy_with_logits(logits["shapes"].float(), truth.shapes)
        terms["patch_shapes"] = _patch_loss(logits["patch_shapes"], shapes_here)
    if "stem_shapes" in logits:
        terms["stem_shapes"] = STEM_WEIGHT * _patch_loss(logits["stem_shapes"], shapes_here)
    for name in ("timbre", "envelope"):
        if name in logits:
            terms[name] = F.cross_entropy(logits[name].float(), getattr(truth, name)[:heard])
    if "patch_motions" in logits and times > 1:
        terms["motions"] = F.binary_cross_entropy_with_logits(logits["motions"].float(), truth.motions)
        terms["patch_motions"] = _patch_loss(logits["patch_motions"], motions_here)
    loss = torch.stack(list(terms.values())).sum()
    return {"loss": loss, **{name: value.detach() for name, value in terms.items()}}


def cells_here(batch: Batch, times: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return what each patch shows, two int64 [B, T', N]: T' `times` of one or more frames, N the grid's cells or
    the kept.
    """
    places = batch.truth.places.unflatten(2, (times, -1)).mean(dim=3)
    shapes, motions = patch_targets(batch.truth.cast, places, grid)
    kept = batch.inputs.kept
    if kept is not None:
        cells = kept[:, None].expand(-1, times, -1)
        shapes, motions = shapes.gather(2, cells), motions.gather(2, cells)
    return shapes, motions


def _patch_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy over all patches, those that show nothing at a lower weight."""
    weights = torch.ones(logits.shape[-1], device=logits.device)
    weights[0] = EMPTY_WEIGHT
    return F.cross_entropy(logits.float().flatten(0, 2), target.flatten(), weight=weights)
