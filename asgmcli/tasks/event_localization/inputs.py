"""The fixed features that are classified: where they come from, and those of some windows as tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asgmcli.console import make_console
from asgmcli.data.features import Features, features_folder, hash_file, open_features
from asgmcli.errors import DataError
from asgmcli.nn.avel import CELLS
from asgmcli.prepare.event_set import EventSet
from asgmcli.ranks.exchange import own_rank
from asgmcli.recipe.event_localization import EventLocalizationRecipe
from asgmcli.recipe.sections import OwnInit, Start
from asgmcli.train.backbones import Backbones
from asgmcli.train.task import Context
from asgmcli.train.weights import BACKBONE_WEIGHTS, ENCODED, ENCODER_WEIGHTS

RELEASED = ("audio_vggish", "visual_vgg19")
ENCODER = ("f_audio", "f_visual")
MAP_DIMS = 4  # of a window's maps: T, h, w, channels
IN_MEMORY = 1 << 30  # bytes of a store up to which it is held in memory


@dataclass(frozen=True)
class Inputs:
    """Features of every window of a data set.

    Attributes:
        audio: [rows, T, A].
        visual: [rows, T, V]; with draws [rows, T, draws, V]; released maps [rows, T, 7, 7, 512].
        rows: int64 [windows], the row of each window in both stores.
        averaged: `visual` has draws, of which the mean is taken.
        motion: their deviation stands beside the mean.
        origins: what made them, by role: its file (or timm's name) and the file's hash.
    """

    audio: Features
    visual: Features
    rows: NDArray[np.int64]
    averaged: bool
    origins: Mapping[str, Mapping[str, str]]
    motion: bool = False

    @property
    def widths(self) -> tuple[int, int]:
        """Return the width of the audio and of the visual features."""
        return self.audio.shape[-1], self.visual.shape[-1] * (2 if self.averaged and self.motion else 1)

    @property
    def cells(self) -> int:
        """Return the cells of a visual map; 49 where there are no maps."""
        return math.prod(self.visual.shape[1:3]) if len(self.visual.shape) == MAP_DIMS else CELLS

    def of(self, windows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return float32 audio [B, T, A] and visual [B, T, ...] of windows, by their numbers.

        Raises:
            DataError: a number among them is not finite.
        """
        return self.sound_of(windows, device), self.picture_of(windows, device)

    def sound_of(self, windows: Tensor, device: torch.device) -> Tensor:
        """Return float32 audio [B, T, A] of windows, see `of`."""
        return _read(self.audio, self.rows[windows.cpu().numpy()]).to(device).float()

    def picture_of(self, windows: Tensor, device: torch.device) -> Tensor:
        """Return float32 visual [B, T, ...] of windows, see `of`."""
        visual = _read(self.visual, self.rows[windows.cpu().numpy()]).to(device).float()
        return over_draws(visual, 2, motion=self.motion) if self.averaged else visual


def over_draws(visual: Tensor, dim: int, *, motion: bool) -> Tensor:
    """Return the mean of features over the draws of a second; with `motion` their deviation beside it, [..., 2 V]."""
    mean = visual.mean(dim)
    return torch.cat([mean, visual.std(dim, correction=0)], -1) if motion else mean


def _read(store: Features, rows: NDArray[np.int64]) -> Tensor:
    values = store.array[rows]
    if not np.isfinite(values.sum(dtype=np.float32)):
        spoilt = rows[~np.isfinite(values).reshape(len(rows), -1).all(1)]
        clips = [
            clip
            for clip, (first, count) in store.places.items()
            if ((first <= spoilt) & (spoilt < first + count)).any()
        ]
        raise DataError(f"{store.path}: the features of {', '.join(clips[:3])} hold NaN or infinity. Make them anew.")
    return torch.from_numpy(values)


def open_inputs(recipe: EventLocalizationRecipe, events: EventSet, context: Context) -> Inputs:
    """Open the features that a recipe names; those of backbones are computed first, once.

    Raises:
        DataError: they are missing, of another data set, or of another shape.
    """
    if recipe.takes == "encoder":
        audio, visual, origins = _of_encoder(recipe, events, context)
    elif recipe.takes == "released":
        audio, visual, origins = _released(recipe, events)
    else:
        audio, visual, origins = _of_backbones(recipe, events, context)
    return _joined(recipe, events, audio, visual, origins)


def open_released(recipe: EventLocalizationRecipe, events: EventSet) -> Inputs:
    """Open the features that `asgm prepare` stored of a data set.

    Raises:
        DataError: they are missing, of another data set, or of another shape.
    """
    return _joined(recipe, events, *_released(recipe, events))


def _joined(
    recipe: EventLocalizationRecipe,
    events: EventSet,
    audio: Features,
    visual: Features,
    origins: Mapping[str, Mapping[str, str]],
) -> Inputs:
    _check(audio, visual, recipe, events)
    rows = np.concatenate([_rows(audio, events, row.id) for row in events.manifest.rows])
    other = np.concatenate([_rows(visual, events, row.id) for row in events.manifest.rows])
    if not np.array_equal(rows, other):
        raise DataError(f"{visual.path}: its clips stand in another order than those of {audio.path}. Make both anew.")
    audio, visual = (part.loaded() if part.array.nbytes <= IN_MEMORY else part for part in (audio, visual))
    return Inputs(audio, visual, rows, recipe.takes == "backbones", origins, recipe.features.motion)


def _rows(store: Features, events: EventSet, clip: str) -> NDArray[np.int64]:
    first, count = store.place(clip)
    wanted = events.source.clips[clip]
    if count != wanted:
        raise DataError(f"{store.path}: clip {clip} has {count} windows there, {wanted} here. Make the features anew.")
    return np.arange(first, first + count, dtype=np.int64)


def _check(audio: Features, visual: Features, recipe: EventLocalizationRecipe, events: EventSet) -> None:
    seconds = events.source.seconds
    for store in (audio, visual):
        if store.shape[0] != seconds:
            raise DataError(f"{store.path}: windows of {store.shape[0]} seconds; clip.seconds is {seconds}.")
        if store.origin.manifest != events.manifest.sha256:
            raise DataError(
                f"{store.path}: made from another manifest than {events.manifest.path}. Make the features anew."
            )
    if recipe.takes == "released" and (len(audio.shape), len(visual.shape)) != (2, MAP_DIMS):
        raise DataError(f"{visual.path}: rows of {list(visual.shape)}, not maps [T, 7, 7, 512]. Prepare them anew.")


def _of_encoder(
    recipe: EventLocalizationRecipe, events: EventSet, context: Context
) -> tuple[Features, Features, dict[str, dict[str, str]]]:
    weights = context.weights_of(recipe.encoder, ENCODER_WEIGHTS)
    assert weights is not None  # the recipe names a run
    folder = weights.parent / ENCODED
    how = f"asgm train {recipe.features.recipe} --overwrite writes them."
    audio, visual = (open_features(folder, name, how=how) for name in ENCODER)
    return audio, visual, {"encoder": {"file": str(weights), "sha256": hash_file(weights)}}


def _released(
    recipe: EventLocalizationRecipe, events: EventSet
) -> tuple[Features, Features, dict[str, dict[str, str]]]:
    folder = features_folder(events.manifest.folder)
    how = f"asgm prepare {recipe.data.dataset} --features DIR converts the released ones, --extract makes them."
    audio, visual = (open_features(folder, name, how=how) for name in RELEASED)
    about = {"audio": {"weights": audio.origin.weights}, "visual": {"weights": visual.origin.weights}}
    return audio, visual, about


def _of_backbones(
    recipe: EventLocalizationRecipe, events: EventSet, context: Context
) -> tuple[Features, Features, dict[str, dict[str, str]]]:
    nets = Backbones(recipe.audio, recipe.visual, recipe.frames, recipe.seed)
    console = make_console(quiet=own_rank() > 0)
    workers = recipe.data.workers
    audio = nets.audio_features(events.source, context, workers, console)
    maps = recipe.takes == "maps"
    visual = nets.visual_features(events.source, recipe.features.draws, context, workers, console, maps=maps)
    starts = {"audio": recipe.audio.init, "visual": recipe.visual.init}
    return audio, visual, {role: _origin(init, context) for role, init in starts.items()}


def _origin(init: OwnInit, context: Context) -> dict[str, str]:
    if isinstance(init, Start) and init.timm is not None:
        return {"timm": init.timm}
    path = context.weights_of(init, BACKBONE_WEIGHTS)
    return {} if path is None else {"file": str(path), "sha256": hash_file(path)}


def find_origin(origin: Mapping[str, str], role: str, run: Path) -> Path:
    """Return the weight file that made a run's features.

    Args:
        origin: its file and hash, as the run keeps them.
        role: what it is to the run, for messages.
        run: the folder of the run.

    Raises:
        DataError: the file is gone or has changed.
    """
    stored = Path(origin["file"])
    # As it was named then, or beside this run where all runs have moved.
    places = [stored] + ([run.parents[2] / Path(*stored.parts[-4:])] if len(run.parents) > 2 else [])
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(f"{stored}: the {role} that made this run's features is gone. Bring it back to that place.")
    if hash_file(found) != origin["sha256"]:
        raise DataError(f"{found}: the {role} has changed since this run was trained on its features. Train it anew.")
    return found
