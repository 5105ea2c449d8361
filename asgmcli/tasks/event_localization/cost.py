"""Cost of a run on fixed features: see `asgmcli.train.cost`."""

from __future__ import annotations

import torch

from asgmcli.data.windows import count_windows
from asgmcli.nn.avel import AUDIO_DIM, VISUAL_DIM
from asgmcli.nn.backbones import audio_dim, map_side, visual_dim
from asgmcli.recipe.event_localization import EventLocalizationRecipe
from asgmcli.tasks.event_localization.data import plan_of
from asgmcli.tasks.event_localization.model import EventNetwork
from asgmcli.train.cost import Counts, Needs, Open, SizeOf, needs_of
from asgmcli.train.trace import trace

COPIES = 1
SIDE = 7  # cells of a released map


def count(recipe: EventLocalizationRecipe, open_: Open) -> Counts:
    """Count windows from the manifest alone.

    Raises:
        DataError: no manifest.
    """
    manifest = open_(recipe.data)
    windows = {row.id: count_windows(row, recipe.clip.seconds) for row in manifest.rows}
    kept = {split: sum(windows[row.id] for row in manifest.of_split(split)) for split in set(recipe.data.splits())}
    return _counts(recipe, kept, len(manifest.classes))


def expected(recipe: EventLocalizationRecipe, size_of: SizeOf) -> Counts | None:
    """Return the counts that there will be, where the data set's size is known and its clips are of one window."""
    size = size_of(recipe.data)
    if size is None or not {recipe.data.train_split, recipe.data.eval_split} <= size.clips.keys():
        return None
    return _counts(recipe, dict(size.clips), size.classes, size.known_from)


def _counts(recipe: EventLocalizationRecipe, windows: dict[str, int], classes: int, known_from: str = "") -> Counts:
    data = recipe.data
    train, judged = windows[data.train_split], windows[data.eval_split]
    train = min(train, data.labeled_clips or train)
    steps, validated = plan_of(recipe, train).steps, windows.get(data.val_split, 0)
    named = {"windows": train, "evaluated": judged}
    return Counts(named, classes, steps, judged, known_from=known_from, validated=validated)


def network(recipe: EventLocalizationRecipe, classes: int) -> EventNetwork:
    """Return the network in training mode, on torch's default device; features of an encoder are `model.dim` wide."""
    side = map_side(recipe.visual, recipe.frames) if recipe.takes == "maps" else SIDE
    return EventNetwork(recipe.model, classes, _widths(recipe), side**2).train()


def _widths(recipe: EventLocalizationRecipe) -> tuple[int, int]:
    if recipe.takes in ("backbones", "maps"):
        beside = 2 if recipe.takes == "backbones" and recipe.features.motion else 1
        return audio_dim(recipe.audio), visual_dim(recipe.visual) * beside
    return (recipe.model.dim, recipe.model.dim) if recipe.takes == "encoder" else (AUDIO_DIM, VISUAL_DIM)


def needs(recipe: EventLocalizationRecipe, classes: int) -> Needs:
    """Count parameters, memory and operations."""
    model = network(recipe, classes)
    audio, visual = _widths(recipe)
    side = SIDE if recipe.takes == "released" else map_side(recipe.visual, recipe.frames)
    maps = (side, side) if recipe.takes in ("released", "maps") else ()

    def logits(windows: int) -> torch.Tensor:
        seconds = recipe.clip.seconds
        answer: torch.Tensor = model(
            torch.empty(windows, seconds, audio), torch.empty(windows, seconds, *maps, visual)
        )[0]
        return answer

    full = trace(lambda: logits(recipe.train.batch), recipe.train.precision)
    view = trace(lambda: logits(1), recipe.train.precision, backward=False)
    return needs_of(model, recipe.train, full, view, recipe.model.dim)
