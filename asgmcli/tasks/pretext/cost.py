"""Cost of a pretext run: see `asgmcli.train.cost`.

Every step counts as one on whole clips with their sound, which costs most.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asgmcli.data.reader import RATE
from asgmcli.media.vggish_mel import BANDS, FRAMES
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.tasks.pretext.batch import Inputs
from asgmcli.tasks.pretext.data import plan_of
from asgmcli.tasks.pretext.model import PretextNetwork, build_network
from asgmcli.train.cost import Counts, Needs, Open, needs_of
from asgmcli.train.trace import TracedWork, trace

COPIES = 1


def count(recipe: PretextRecipe, open_: Open) -> Counts:
    """Return the counts of what will be generated."""
    made = recipe.generated
    return Counts({"generated": made.train, "evaluated": made.test}, 0, plan_of(recipe, made.train).steps, made.test)


def network(recipe: PretextRecipe, classes: int) -> PretextNetwork:
    """Return the network in training mode, on torch's default device."""
    return build_network(recipe, recipe.audio.length).train()


def needs(recipe: PretextRecipe, classes: int) -> Needs:
    """Count parameters, memory and operations."""
    model = network(recipe, classes)
    full, view = _works(recipe, model)
    width = max(model.body.seen_dim, model.body.heard_dim)
    return needs_of(model, recipe.train, full, view, width)


def _works(recipe: PretextRecipe, model: PretextNetwork) -> list[TracedWork]:
    """Return the step, and a view."""
    clip = recipe.still

    def clips(count: int) -> Inputs:
        video = torch.empty(count, clip.frames, 3, clip.size, clip.size, dtype=torch.uint8)
        if recipe.model.backbones is not None:
            return Inputs(video, torch.empty(count, FRAMES, BANDS))
        if recipe.model.localizer is not None:
            return Inputs(video, torch.empty(count, round(recipe.audio.seconds * RATE)))
        return Inputs(video, torch.empty(count, recipe.audio.length, recipe.audio.mels))

    def outputs(count: int) -> Tensor:
        return torch.cat([logits.flatten() for logits in model(clips(count)).values()])

    full = trace(lambda: outputs(recipe.train.batch), recipe.train.precision)
    return [full, trace(lambda: outputs(1), recipe.train.precision, backward=False)]
