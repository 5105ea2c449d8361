"""Cost of a localization run: see `asgmcli.train.cost`."""

from __future__ import annotations

import torch
from torch import Tensor

from asgmcli.data.boxes import has_boxes
from asgmcli.data.reader import RATE
from asgmcli.nn.localizer import FNAC, WINDOW_SAMPLES
from asgmcli.nn.start_localizer import StartLocalizer
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.tasks.localization.data import plan_of
from asgmcli.tasks.localization.model import build_on_start
from asgmcli.train.cost import Counts, Decoded, Needs, Open, SizeOf, needs_of
from asgmcli.train.trace import trace

COPIES = 1


def count(recipe: LocalizationRecipe, open_: Open) -> Counts:
    """Count pairs of image and sound, and clips with boxes.

    Raises:
        DataError: no manifest.
    """
    pairs = [row for row in open_(recipe.data).of_split(recipe.data.train_split) if row.audio]
    boxed = open_(recipe.evaluation_data)
    frames = [row for row in boxed.of_split(recipe.data.eval_split) if row.audio] if has_boxes(boxed) else []
    return _counts(recipe, len(pairs), len(frames))


def expected(recipe: LocalizationRecipe, size_of: SizeOf) -> Counts | None:
    """Return the counts that there will be, where the data sets' sizes are known."""
    size, evaluated = size_of(recipe.data), size_of(recipe.evaluation_data)
    boxed = evaluated.clips.get(recipe.data.eval_split) if evaluated is not None and evaluated.boxes else None
    if size is None or boxed is None or recipe.data.train_split not in size.clips:
        return None
    return _counts(recipe, size.clips[recipe.data.train_split], boxed, size.known_from)


def _counts(recipe: LocalizationRecipe, pairs: int, evaluated: int, known_from: str = "") -> Counts:
    views = evaluated * recipe.evaluate.frames
    return Counts(
        {"pairs": pairs, "evaluated": evaluated}, 0, plan_of(recipe, pairs).steps, views, known_from=known_from
    )


def decoded(recipe: LocalizationRecipe) -> Decoded | None:
    """Return what of the clips is kept decoded on disk."""
    return Decoded(recipe.input.resize, waves=True, sound=True) if recipe.data.share_decoded else None


def network(recipe: LocalizationRecipe, classes: int) -> FNAC | StartLocalizer:
    """Return the network in training mode, on torch's default device."""
    settings = recipe.model
    if settings.kind == "start":
        on_start = build_on_start(recipe).train()
        for trunk in on_start.trunks():
            trunk.requires_grad_(False)
        return on_start
    model = FNAC(settings.dim, width=settings.width, stride=settings.stride, norm=settings.norm).train()
    model.imgnet.requires_grad_(not settings.frozen_trunks)
    model.audnet.requires_grad_(not settings.frozen_trunks)
    return model


def needs(recipe: LocalizationRecipe, classes: int) -> Needs:
    """Count parameters, memory and operations."""
    model = network(recipe, classes)

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        size, samples = recipe.input.size, max(round(recipe.input.seconds * RATE), WINDOW_SAMPLES)
        sound = model.spectrogram(torch.empty(count, samples), rate=RATE, seconds=samples / RATE)
        return torch.empty(count, 3, size, size), sound

    def step() -> Tensor:
        return scores(recipe.train.batch)

    def scores(count: int) -> Tensor:
        picture, sound = pairs(count)
        return torch.einsum("bdhw,md->bmhw", model.image_features(picture), model.audio_features(sound))

    full = trace(step, recipe.train.precision)
    model.eval()
    view = trace(lambda: scores(1), recipe.train.precision, backward=False)
    return needs_of(model, recipe.train, full, view, recipe.model.dim)
