"""The claim's controls of a step: maps that point to a wrong place or are both clips', targets that weigh otherwise.

The paper's step has none: `masks.placebo` is none, `masks.maps` own, and `losses.mixup.target` counts tokens. The true
boxes in place of a localizer (`localizer.kind: oracle`) come with the batch, as maps of any other guide do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asgmcli.masks.heatmap import apart, token_weights
from asgmcli.masks.mix import mass_weight
from asgmcli.masks.placebo import misplaced
from asgmcli.recipe.recognition import RecognitionRecipe


def controlled_maps(recipe: RecognitionRecipe, maps: Tensor, draw: torch.Generator) -> Tensor:
    """Return the maps [B, T, h, w], misplaced where `masks.placebo` asks for it."""
    placebo = recipe.masks.placebo
    return maps if placebo == "none" else misplaced(maps, placebo, draw)


def drawing_maps(recipe: RecognitionRecipe, maps: Tensor | None, warp: Tensor, partner: Tensor) -> Tensor | None:
    """Return the maps [B, T, h, w] that draw A's tokens: its own, or, with `masks.maps` both, A's apart from B's.

    Args:
        recipe: with `masks.maps`.
        maps: [B, T, h, w] of the unlabelled clips; None without a guide.
        warp: [B, T], which of its times a clip shows where it is B.
        partner: [B].
    """
    if maps is None or recipe.masks.maps == "own":
        return maps
    shown = maps.gather(1, warp[:, :, None, None].expand_as(maps))
    return apart(maps, shown[partner])


def controlled_share(
    recipe: RecognitionRecipe,
    maps: Tensor | None,
    grid: tuple[int, int],
    mask: Tensor,
    warp: Tensor,
    partner: Tensor,
) -> float | Tensor | None:
    """Return A's share of each mixture by a control's target: of all, or [B]; None where tokens count.

    Args:
        recipe: with `losses.mixup.target` constant, mass or tokens.
        maps: [B, T, h, w] of the unlabelled clips; None without a guide, where tokens count.
        grid: rows and columns of a frame's tokens.
        mask: [B, T, N], true where A stays.
        warp: [B, T], which of its times a clip shows where it is B.
        partner: [B].
    """
    settings, masks = recipe.losses.mixup, recipe.masks
    if settings.target == "constant":
        return settings.constant
    if settings.target == "tokens" or maps is None:
        return None
    weights = token_weights(maps, grid, masks.average_frames, masks.sharpness)
    warped = weights.gather(1, warp[:, :, None].expand_as(weights))
    return mass_weight(weights, warped[partner], mask)
