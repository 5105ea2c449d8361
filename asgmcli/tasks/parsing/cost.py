"""Cost of a parsing run: see `asgmcli.train.cost`."""

from __future__ import annotations

import torch
from torch import Tensor

from asgmcli.media.seconds import SECONDS
from asgmcli.nn.mmil import ParsingNetwork
from asgmcli.nn.parser import Parser
from asgmcli.recipe.parsing import ParsingRecipe
from asgmcli.tasks.parsing.data import plan_of
from asgmcli.tasks.parsing.model import network_of
from asgmcli.train.cost import Counts, Needs, Open, SizeOf, needs_of
from asgmcli.train.trace import trace

COPIES = 1
RELEASED_DIMS = (128, 2048, 512)
DEMO_DIMS = (128, 128, 128)


def dims_of(recipe: ParsingRecipe) -> tuple[int, int, int]:
    """Return the widths of the features that the recipe names, before they are there."""
    return DEMO_DIMS if recipe.features.image == "image_stills" else RELEASED_DIMS


def count(recipe: ParsingRecipe, open_: Open) -> Counts:
    """Count clips; a clip that is longer than a window counts once.

    Raises:
        DataError: no manifest.
    """
    manifest = open_(recipe.data)
    trained, judged = (len(manifest.of_split(name)) for name in (recipe.data.train_split, recipe.data.eval_split))
    validated = sum(row.split == recipe.data.val_split for row in manifest.rows)
    return _counts(recipe, trained, judged, validated, len(manifest.classes))


def expected(recipe: ParsingRecipe, size_of: SizeOf) -> Counts | None:
    """Return the counts that there will be, where the data set's size is known."""
    size, data = size_of(recipe.data), recipe.data
    if size is None or data.train_split not in size.clips or data.eval_split not in size.clips:
        return None
    validated = size.clips.get(data.val_split, 0)
    return _counts(
        recipe, size.clips[data.train_split], size.clips[data.eval_split], validated, size.classes, size.known_from
    )


def _counts(
    recipe: ParsingRecipe, clips: int, evaluated: int, validated: int, classes: int, known_from: str = ""
) -> Counts:
    steps = plan_of(recipe, clips).steps
    found = {"clips": clips, "validated": validated, "evaluated": evaluated}
    return Counts(found, classes, steps, evaluated, known_from=known_from, validated=validated)


def network(recipe: ParsingRecipe, classes: int) -> ParsingNetwork:
    """Return the network in training mode, on torch's default device."""
    return network_of(recipe, classes, dims_of(recipe)).train()


def needs(recipe: ParsingRecipe, classes: int) -> Needs:
    """Count parameters, memory and operations."""
    model = network(recipe, classes)

    def outputs(clips: int) -> Tensor:
        parsed = model(*(torch.empty(clips, SECONDS, width) for width in model_dims(recipe)))
        found = [parsed.clip.flatten(), parsed.audio.flatten(), parsed.visual.flatten()]
        if recipe.losses.adversarial.weight and isinstance(model, Parser) and clips > 1:
            found.append(model.modality(parsed.features, 1.0).flatten())
        return torch.cat(found)

    step = trace(lambda: outputs(recipe.train.batch), recipe.train.precision)
    view = trace(lambda: outputs(1), recipe.train.precision, backward=False)
    return needs_of(model, recipe.train, step, view, recipe.model.dim)


def model_dims(recipe: ParsingRecipe) -> tuple[int, int, int]:
    """Return the widths of what the network is given."""
    dims = dims_of(recipe)
    width = recipe.model.transformer.dim
    return (width, width, dims[2]) if recipe.model.pretrained == "features" else dims
