"""Features of a data set's windows in memory, its bags of labels, and the batches that are made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asgmcli.data.features import Features, features_folder, open_features
from asgmcli.data.manifest import Manifest, splits_of
from asgmcli.data.plan import Plan, Planned, Stream, generator, next_windows
from asgmcli.data.segments import read_segments
from asgmcli.errors import DataError, UsageError
from asgmcli.media.seconds import SECONDS
from asgmcli.metrics.parsing import summarize
from asgmcli.metrics.parsing_events import event_scores
from asgmcli.metrics.parsing_segments import segment_scores
from asgmcli.prepare.source import how_to_prepare, open_manifest
from asgmcli.ranks.exchange import count_ranks, own_share
from asgmcli.recipe.parsing import ParsingRecipe
from asgmcli.tasks.parsing.batch import Batch, JudgedBatch
from asgmcli.tasks.parsing.truth import Truth, Window, truth_of, windows_of

KINDS = ("audio", "image", "motion")


@dataclass(frozen=True)
class Stores:
    """The three arrays of a data set's feature store."""

    audio: Features
    image: Features
    motion: Features

    @property
    def dims(self) -> tuple[int, int, int]:
        """Return the widths of the features."""
        return tuple(store.shape[-1] for store in (self.audio, self.image, self.motion))  # type: ignore[return-value]


@dataclass
class Split:
    """The windows of a split: features float16 [N, T, F] each, and what is known of them."""

    windows: list[Window]
    features: tuple[Tensor, Tensor, Tensor]
    truth: Truth

    def __len__(self) -> int:
        return len(self.windows)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Return windows as a batch, read by one index each."""
        index = torch.tensor(numbers, dtype=torch.int64)
        audio, image, motion = (part[index].float() for part in self.features)
        ids = [self.windows[number].row.id for number in numbers]
        return Batch(ids, audio, image, motion, torch.from_numpy(self.truth.bags)[index])

    @property
    def others(self) -> list[int]:
        """Return for each window the place of another clip's, nothing where there is one clip; see `next_windows`."""
        return next_windows([window.row.id for window in self.windows])

    def with_other(self, what: str) -> Split | None:
        """Return the windows with another clip's `sound`, or another's `picture`; None where there is one clip.

        What is known of them stays theirs.
        """
        places = self.others
        if not places:
            return None
        audio, image, motion = self.features
        if what == "sound":
            return replace(self, features=(audio[places], image, motion))
        return replace(self, features=(audio, image[places], motion[places]))

    def judged(self, numbers: Sequence[int]) -> JudgedBatch:
        """Return windows with what is known of them."""
        events = None if self.truth.events is None else torch.from_numpy(self.truth.events[numbers])
        places = [self.windows[number].place for number in numbers]
        return JudgedBatch(self.batch(numbers), places, events, torch.from_numpy(self.truth.real[numbers]))


@dataclass
class ParsingData(Planned):
    """The data of a run."""

    recipe: ParsingRecipe
    manifest: Manifest
    stores: Stores
    notes: list[str] = field(default_factory=list)

    @cached_property
    def train(self) -> Split:
        """Return the training windows."""
        return read_split(self.recipe, self.manifest, self.stores, self.recipe.data.train_split)

    @cached_property
    def val(self) -> Split | None:
        """Return the validation windows, None without any."""
        name = self.recipe.data.val_split
        if name not in splits_of(self.manifest.rows):
            return None
        return read_split(self.recipe, self.manifest, self.stores, name)

    @cached_property
    def test(self) -> Split:
        """Return the windows of the evaluation split."""
        return read_split(self.recipe, self.manifest, self.stores, self.recipe.data.eval_split)

    @cached_property
    def plan(self) -> Plan:
        """Return which windows every step has."""
        return plan_of(self.recipe, len(self.train))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` from step `start` on."""
        return map(self.train.batch, self.plan.numbers(number, start))

    @property
    def evaluation(self) -> Iterable[JudgedBatch]:
        """Return the batches of the evaluation split."""
        return batches_of(self.test, self.recipe.evaluate.batch)

    @property
    def validation(self) -> Iterable[JudgedBatch] | None:
        """Return the batches of the validation split, None without one."""
        return None if self.val is None else batches_of(self.val, self.recipe.evaluate.batch)

    def take(self, stores: Stores) -> None:
        """Take other features of the same clips."""
        self.stores = stores
        for name in ("train", "val", "test"):
            self.__dict__.pop(name, None)

    def summary(self) -> dict[str, object]:
        """Return the data's entry in the result."""
        counts = {"train": len(self.train), "val": len(self.val or ()), "test": len(self.test)}
        return {"dataset": self.recipe.data.dataset, "manifest": self.manifest.sha256, **counts}


def plan_of(recipe: ParsingRecipe, windows: int) -> Plan:
    """Return which of so many windows every step has."""
    return Plan({"clips": Stream(windows, recipe.train.batch)}, recipe.seed, own_share(), partial=recipe.train.partial)


def batches_of(split: Split, size: int) -> list[JudgedBatch]:
    """Return this rank's share of the windows, as batches."""
    numbers = list(range(len(split)))
    parts = [numbers[first : first + size] for first in range(0, len(numbers), size)]
    return [split.judged(part) for part in own_share().deal(parts)]


def build_data(recipe: ParsingRecipe) -> ParsingData:
    """Open the manifest and the feature store, and check that they suit the recipe.

    Raises:
        DataError: features are missing, damaged, of another manifest or not of ten seconds; or a split is empty.
        UsageError: ranks that do not divide the last batch.
    """
    manifest = open_manifest(recipe.data)
    stores = open_stores(recipe, manifest)
    data = ParsingData(recipe, manifest, stores)
    _check_ranks(recipe, len(data.train))
    data.notes += chance_notes(data.test.truth)
    return data


def open_stores(recipe: ParsingRecipe, manifest: Manifest) -> Stores:
    """Open the arrays that the recipe names.

    Raises:
        DataError: one is missing, damaged, made from another manifest, or not of ten seconds.
    """
    how = how_to_prepare(recipe.data)
    found = []
    for kind in KINDS:
        name = getattr(recipe.features, kind)
        store = open_features(features_folder(manifest.folder), name, how=how)
        if store.origin.manifest != manifest.sha256:
            raise DataError(f"{store.path}: made from another manifest than {manifest.path}. {how}")
        if len(store.shape) != 2 or store.shape[0] != SECONDS:
            raise DataError(f"{store.path}: features {list(store.shape)} a window, where [{SECONDS}, width] is wanted.")
        found.append(store)
    return Stores(*found)


def read_split(recipe: ParsingRecipe, manifest: Manifest, stores: Stores, name: str) -> Split:
    """Return the windows of a split, noise added where the recipe says so.

    Raises:
        DataError: the split has no clip, or the store lacks one.
    """
    rows = manifest.of_split(name)
    if not rows:
        raise DataError(f"{manifest.path}: no clip of split {name!r}.")
    windows: list[Window] = []
    parts: tuple[list[NDArray[np.float16]], ...] = ([], [], [])
    for row in rows:
        values = [store.of_clip(row.id) for store in (stores.audio, stores.image, stores.motion)]
        if len({len(value) for value in values}) > 1:
            raise DataError(f"{stores.audio.path.parent}: clip {row.id} has {[len(v) for v in values]} windows.")
        windows += windows_of(row, len(values[0]))
        for part, value in zip(parts, values, strict=True):
            part.append(value)
    arrays = [np.concatenate(part) for part in parts]
    if recipe.features.noise:
        arrays = _noisy(recipe, windows, arrays)
    audio, image, motion = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
    return Split(windows, (audio, image, motion), truth_of(manifest, windows, read_segments(manifest)))


def _noisy(
    recipe: ParsingRecipe, windows: Sequence[Window], arrays: Sequence[NDArray[np.float16]]
) -> list[NDArray[np.float16]]:
    """Return the features with one fixed draw of noise a window, by seed and clip."""
    widths = [array.shape[-1] for array in arrays]
    made = [np.empty_like(array) for array in arrays]
    for place, window in enumerate(windows):
        rng = generator(recipe.seed, "noise", window.row.id, window.place)
        drawn = recipe.features.noise * rng.standard_normal((SECONDS, sum(widths)), np.float32)
        for array, out, noise in zip(arrays, made, np.split(drawn, np.cumsum(widths)[:-1], axis=1), strict=True):
            out[place] = array[place] + noise
    return made


def chance_notes(truth: Truth) -> list[str]:
    """Return what needs no network: nothing predicted, and the true bag in every second; none without a truth."""
    if truth.events is None:
        return []
    everywhere = (truth.bags > 0)[:, None, :, None] & truth.real[:, None, None, :]
    guesses = {"Nothing predicted": np.zeros_like(truth.events), "The true bag in every second": everywhere}
    lines = []
    for title, guess in guesses.items():
        whole = np.broadcast_to(guess, truth.events.shape)
        numbers = {
            name: " ".join(f"{value:.1f}" for value in summarize(scores(whole, truth.events)).values())
            for name, scores in (("segment", segment_scores), ("event", event_scores))
        }
        lines.append(
            f"{title}: segment {numbers['segment']}, event {numbers['event']} "
            "(audio, visual, audio-visual, Type@AV, Event@AV)."
        )
    lines[1] += " Where a network stays below that, its score measures the naming of bags more than their placing."
    return lines


def _check_ranks(recipe: ParsingRecipe, windows: int) -> None:
    """Check that every batch divides among the ranks, whose losses are averaged.

    Raises:
        UsageError: the last one does not.
    """
    ranks, last = count_ranks(), windows % recipe.train.batch
    if ranks > 1 and recipe.train.partial == "keep" and last % ranks:
        raise UsageError(
            f"train.partial: keep leaves a last batch of {last} clips, which do not divide among {ranks} processes. "
            "Set train.partial=drop or fill."
        )
