"""Cost of a grounding run: see `asgmcli.train.cost`."""

from __future__ import annotations

import torch
from torch import Tensor

from asgmcli.media.seconds import SECONDS
from asgmcli.nn.grounding import Uniter
from asgmcli.recipe.grounding import GroundingRecipe
from asgmcli.tasks.grounding.data import plan_of, validated
from asgmcli.tasks.grounding.model import build_network
from asgmcli.train.cost import Counts, Needs, Open, needs_of
from asgmcli.train.trace import trace

COPIES = 1
RELEASED_DIMS, DEMO_DIMS = (128, 2048), (128, 128)


def dims_of(recipe: GroundingRecipe) -> tuple[int, int]:
    """Return the widths of the features that the recipe names, before they are there."""
    return DEMO_DIMS if recipe.features.image == "image_stills" else RELEASED_DIMS


def count(recipe: GroundingRecipe, open_: Open) -> Counts:
    """Count clips that are trained and validated on.

    Raises:
        DataError: no manifest.
    """
    clips = [row.id for row in open_(recipe.data).of_split(recipe.data.train_split)]
    held = sum(validated(recipe, clip) for clip in clips)
    trained = len(clips) - held
    return Counts({"clips": trained, "validated": held}, 0, plan_of(recipe, trained).steps, held, validated=held)


def network(recipe: GroundingRecipe, classes: int) -> Uniter:
    """Return the transformer in training mode, on torch's default device."""
    return build_network(recipe, dims_of(recipe)).train().uniter


def needs(recipe: GroundingRecipe, classes: int) -> Needs:
    """Count parameters, memory and operations."""
    model = build_network(recipe, dims_of(recipe)).train()
    audio, image = dims_of(recipe)

    def tokens(clips: int) -> Tensor:
        heard, seen = model.ground(torch.empty(clips, SECONDS, audio), torch.empty(clips, SECONDS, image))
        return torch.cat([heard.flatten(), seen.flatten()])

    step = trace(lambda: tokens(recipe.train.batch), recipe.train.precision)
    view = trace(lambda: tokens(1), recipe.train.precision, backward=False)
    return needs_of(model.uniter, recipe.train, step, view, recipe.model.transformer.dim)
