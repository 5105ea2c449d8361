"""Windows to train AV-BT on: frames drawn anew each epoch, or features of frozen backbones; no label is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.data import Dataset

from asgmcli.data.frame_cache import FrameReader
from asgmcli.data.loader import Draw, collate, first_decodable, make_loader, training_batches
from asgmcli.data.manifest import ManifestRow, check_files
from asgmcli.data.plan import Plan, Planned, RankShare, SampleKey, Stream, generator
from asgmcli.data.windows import CANDIDATES, Window, centre, read_patches
from asgmcli.errors import DataError
from asgmcli.prepare.event_set import EventSet, open_events
from asgmcli.prepare.extract import draws_of
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.event_representation import EventRepresentationRecipe
from asgmcli.tasks.event_representation.augment import augment
from asgmcli.tasks.event_representation.batch import Batch, SeenHeard, WholeBatch


@dataclass
class TrainWindows(Dataset[Batch]):
    """Training windows; with frozen backbones without picture and sound."""

    recipe: EventRepresentationRecipe
    events: EventSet
    numbers: np.ndarray

    def __post_init__(self) -> None:
        self.rows: list[ManifestRow] = [self.events.windows[number].row for number in self.numbers]

    def __getitem__(self, key: SampleKey) -> Batch:
        """Return a window, or its replacement where it cannot be decoded.

        Raises:
            DataError: 20 windows in a row failed.
        """
        names = ("window", key.epoch, key.occurrence)
        return first_decodable(self.rows, key.number, self.recipe.seed, names, self._window)

    def _window(self, draw: Draw) -> Batch:
        recipe, rng = self.recipe, draw.rng
        number = int(self.numbers[draw.number])
        window = self.events.windows[number]
        count = CANDIDATES if recipe.train_backbones else recipe.features.draws
        draws = rng.integers(count, size=window.seconds)
        inputs = self._read(window, draws, rng) if recipe.train_backbones else None
        return Batch([draw.row.id], draw.failures, torch.tensor(number), torch.from_numpy(draws), inputs)

    def _read(self, window: Window, draws: np.ndarray, rng: np.random.Generator) -> SeenHeard:
        settings, manifest = self.recipe.frames, self.events.manifest
        frames = FrameReader(manifest, settings).read(window, draws.tolist())
        patches = read_patches(manifest, window, self.recipe.audio.hop)[:, None]
        return SeenHeard(augment(frames, self.recipe.augment, settings.size, rng), patches)


@dataclass
class WholeWindows(Dataset[WholeBatch]):
    """Windows as the finished encoder sees them: the middle frame of each second, or several, cut from the centre."""

    recipe: EventRepresentationRecipe
    events: EventSet

    def __getitem__(self, number: int) -> WholeBatch:
        window = self.events.windows[number]
        inputs = self._read(window) if self.recipe.train_backbones else None
        return WholeBatch([window.row.id], torch.tensor(number), inputs)

    def _read(self, window: Window) -> SeenHeard:
        settings, manifest = self.recipe.frames, self.events.manifest
        reader, draws = FrameReader(manifest, settings), draws_of(self.recipe.features.draws)
        frames = centre(reader.read_draws(window, draws), settings.size)
        return SeenHeard(frames, read_patches(manifest, window, self.recipe.audio.hop)[:, None])


@dataclass
class RepresentationData(Planned):
    """The data of a run of AV-BT."""

    recipe: EventRepresentationRecipe
    events: EventSet
    views: TrainWindows
    plan: Plan
    failures: list[str] = field(default_factory=list)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` from step `start` on.

        Raises:
            DataError: more clips failed to decode than allowed.
        """
        settings = self.recipe.data
        batches = self.plan.batches(number, start)
        if not self._reads:
            return self._known(batches)
        return training_batches(self.views, batches, settings.workers, collate, self.failures, settings.max_failures)

    @property
    def _reads(self) -> bool:
        return self.recipe.train_backbones

    def _known(self, batches: Iterator[list[SampleKey]]) -> Iterator[Batch]:
        """Yield batches of numbers and draws alone: a loader would take longer than the step."""
        numbers = self.views.numbers
        for keys in batches:
            chosen = numbers[[key.number for key in keys]]
            drawn = [self._draws(key) for key in keys]
            ids = [self.views.rows[key.number].id for key in keys]
            yield Batch(ids, [], torch.from_numpy(chosen), torch.from_numpy(np.stack(drawn)), None)

    def _draws(self, key: SampleKey) -> np.ndarray:
        """Return the frame that is taken of each second: the same however many processes share a batch."""
        recipe = self.recipe
        random = generator(recipe.seed, "draws", key.epoch, key.occurrence, key.number)
        return random.integers(recipe.features.draws, size=recipe.clip.seconds)

    @property
    def evaluation(self) -> Iterator[WholeBatch]:
        """Yield all windows of all splits, which the finished encoder encodes."""
        views, size = WholeWindows(self.recipe, self.events), self.recipe.probe.batch
        if self._reads:
            size = min(size, 8)
        count = len(self.events.windows)
        numbers = [list(range(first, min(first + size, count))) for first in range(0, count, size)]
        return make_loader(views, own_share().deal(numbers), self.recipe.data.workers if self._reads else 0, collate)

    def summary(self) -> dict[str, object]:
        """Return the manifest's hash and the number of training windows."""
        return {
            "dataset": self.recipe.data.dataset,
            "manifest": self.events.manifest.sha256,
            "windows": len(self.views.numbers),
            "eval_split": self.recipe.data.eval_split,
        }


def plan_of(recipe: EventRepresentationRecipe, windows: int, share: RankShare | None = None) -> Plan:
    """Return which of so many windows every step has, with `share` this process's part of it."""
    stream = Stream(windows, recipe.train.batch)
    return Plan({"windows": stream}, recipe.seed, share or RankShare(), recipe.train.partial)


def build_data(recipe: EventRepresentationRecipe) -> RepresentationData:
    """Open the data set; every training clip is taken, with an event or without.

    Raises:
        DataError: no manifest, no events, files gone, or too few clips for a batch.
    """
    events = open_events(recipe.data, recipe.clip.seconds)
    if recipe.train_backbones:
        check_files(events.manifest, events.manifest.rows)
    numbers = events.of_split(recipe.data.train_split)
    plan = plan_of(recipe, len(numbers), own_share())
    if not plan.steps:
        raise DataError(
            f"{events.manifest.path}: {len(numbers)} training windows make no batch of {recipe.train.batch}. Lower "
            "train.batch, or set train.partial to fill or keep."
        )
    return RepresentationData(recipe, events, TrainWindows(recipe, events, numbers), plan)
