"""One training step of the pretext: what is seen, where it is seen, and what is heard."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.data.loader import Batch
from asgmcli.tasks.pretext.model import PretextState

EMPTY_WEIGHT = 0.3  # of patches without a sprite, which are most
REACH = 0.9  # of a sprite's radius: patches whose centre lies within show it


def train_step(state: PretextState, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropies of the class token's and the patches' answers, summed; motion is asked of clips alone."""
    logits = state.network(batch)
    rows, columns = logits["patch_shapes"].shape[2:4]
    here = patch_targets(batch["cast"], batch["places"], (rows, columns))
    terms = {
        "shapes": F.binary_cross_entropy_with_logits(logits["shapes"].float(), batch["shapes"]),
        "patch_shapes": _patch_loss(logits["patch_shapes"], here[0]),
        "timbre": F.cross_entropy(logits["timbre"].float(), batch["timbre"]),
        "envelope": F.cross_entropy(logits["envelope"].float(), batch["envelope"]),
    }
    if batch["video"].shape[1] > 1:
        terms["motions"] = F.binary_cross_entropy_with_logits(logits["motions"].float(), batch["motions"])
        terms["patch_motions"] = _patch_loss(logits["patch_motions"], here[1])
    loss = torch.stack(list(terms.values())).sum()
    return {"loss": loss, **{name: value.detach() for name, value in terms.items()}}


def patch_targets(cast: Tensor, places: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which shape and which motion each patch shows, 0 for none.

    A patch shows the nearest sprite (in radii) whose centre is within `REACH` of its radius; a sprite too small for
    that is shown by the patch nearest to it.

    Args:
        cast: [B, A, 2] shape and motion of each sprite, -1 where there is none.
        places: [B, A, T, 3] x, y and radius in frame sides, NaN where there is none.
        grid: (rows, columns) of patches.

    Returns:
        Two int64 [B, T, N]: 1 + shape, 1 + motion, or 0.
    """
    rows = (torch.arange(grid[0], device=places.device) + 0.5) / grid[0]
    columns = (torch.arange(grid[1], device=places.device) + 0.5) / grid[1]
    centres = torch.stack([columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns))], dim=-1).flatten(0, 1)
    away = torch.linalg.vector_norm(places[:, :, :, None, :2] - centres, dim=-1) / places[..., 2:]  # [B, A, T, N]
    away = torch.nan_to_num(away, nan=torch.inf)
    shown = (away < REACH) | ((away == away.amin(dim=-1, keepdim=True)) & away.isfinite())
    nearest, sprite = away.masked_fill(~shown, torch.inf).min(dim=1)
    found = nearest.isfinite()
    shape, motion = (
        torch.where(found, cast[:, :, kind].gather(1, sprite.flatten(1)).view_as(sprite) + 1, 0) for kind in (0, 1)
    )
    return shape, motion


def _patch_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy over all patches, those that show nothing at a lower weight."""
    weights = torch.ones(logits.shape[-1], device=logits.device)
    weights[0] = EMPTY_WEIGHT
    return F.cross_entropy(logits.float().flatten(0, 3), target.flatten(), weight=weights)
