"""Cost of a run of AV-BT: see `asgmcli.train.cost`."""

from __future__ import annotations

import torch
from torch import Tensor

from asgmcli.data.windows import count_windows
from asgmcli.losses.barlow import barlow_loss
from asgmcli.media.vggish_mel import BANDS, FRAMES
from asgmcli.nn.backbones import Reduced, audio_dim, visual_dim
from asgmcli.recipe.event_representation import EventRepresentationRecipe
from asgmcli.tasks.event_representation.data import plan_of
from asgmcli.tasks.event_representation.model import AVBT
from asgmcli.train.cost import Counts, Needs, Open, SizeOf, needs_of
from asgmcli.train.trace import trace

COPIES = 1


def count(recipe: EventRepresentationRecipe, open_: Open) -> Counts:
    """Count windows from the manifest alone.

    Raises:
        DataError: no manifest.
    """
    manifest = open_(recipe.data)
    windows = {row.id: count_windows(row, recipe.clip.seconds) for row in manifest.rows}
    train = sum(windows[row.id] for row in manifest.of_split(recipe.data.train_split))
    return _counts(recipe, train, sum(windows.values()), len(manifest.classes))


def expected(recipe: EventRepresentationRecipe, size_of: SizeOf) -> Counts | None:
    """Return the counts that there will be, where the data set's size is known and its clips are of one window."""
    size = size_of(recipe.data)
    if size is None or recipe.data.train_split not in size.clips:
        return None
    return _counts(recipe, size.clips[recipe.data.train_split], sum(size.clips.values()), size.classes, size.known_from)


def _counts(recipe: EventRepresentationRecipe, train: int, every: int, classes: int, known_from: str = "") -> Counts:
    steps = plan_of(recipe, train).steps
    return Counts({"windows": train, "encoded": every}, classes, steps, every, known_from=known_from)


def network(recipe: EventRepresentationRecipe, classes: int) -> AVBT:
    """Return the network in training mode, on torch's default device."""
    model = AVBT(recipe).train()
    if not recipe.train_backbones:
        assert isinstance(model.encoder.visual, Reduced)
        model.encoder.audio.requires_grad_(False)
        model.encoder.visual.body.requires_grad_(False)
    return model


def needs(recipe: EventRepresentationRecipe, classes: int) -> Needs:
    """Count parameters, memory and operations of a step on a whole batch."""
    model = network(recipe, classes)

    def features(videos: int) -> tuple[Tensor, Tensor]:
        seconds, size = recipe.clip.seconds, recipe.frames.size
        if recipe.train_backbones:
            frames = torch.empty(videos, seconds, 3, size, size)
            found: tuple[Tensor, Tensor] = model.encoder(frames, torch.empty(videos, seconds, 1, FRAMES, BANDS))
            return found
        assert isinstance(model.encoder.visual, Reduced)
        visual = model.encoder.visual.reduce(torch.empty(videos, seconds, visual_dim(recipe.visual)))
        return model.encoder.temporal(torch.empty(videos, seconds, audio_dim(recipe.audio)), visual)

    def step() -> Tensor:
        embedded = model.project(*features(recipe.train.batch))
        return barlow_loss(*embedded, normalise=recipe.losses.barlow.normalise)["loss"]

    full = trace(step, recipe.train.precision)
    view = trace(lambda: torch.cat(features(1)), recipe.train.precision, backward=False)
    return needs_of(model, recipe.train, full, view, recipe.projector.sizes[-1])
