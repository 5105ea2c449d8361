"""Pairs of image and sound: a random frame of each clip with the sound around it; boxes for the evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from asgmcli.data import augment
from asgmcli.data.boxes import Boxes, has_boxes, read_boxes
from asgmcli.data.loader import Batch, collate, first_decodable, make_loader, note_failures
from asgmcli.data.manifest import Manifest, Row, check_files
from asgmcli.data.plan import Plan, SampleKey, Share
from asgmcli.data.reader import ClipReader, Moment
from asgmcli.errors import DataError
from asgmcli.prepare.source import open_manifest
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.clips import Audio, Clip
from asgmcli.recipe.localization import LocalizationRecipe, LocalizerInput

FROZEN_FRAMES = 4  # a clip, where only projections train

Place = tuple[str, int]
"""A clip's id and a frame of it."""


@dataclass
class PairViews(Dataset[Batch]):
    """Training pairs: `image` uint8 [3, S, S], `wave` float32 [samples]; neither where `known` has the clip and frame.

    What is known is decided elsewhere, at any time: a pair that is read though it is known by now does no harm.
    """

    reader: ClipReader
    rows: list[Row]
    recipe: LocalizationRecipe
    known: set[Place] = field(default_factory=set)

    def __getitem__(self, key: SampleKey) -> Batch:
        """The clip's pair, or that of its replacement where it cannot be decoded.

        Raises:
            DataError: 20 clips in a row failed.
        """
        names = ("pair", key.epoch, key.occurrence)
        return first_decodable(self.rows, key.number, self.recipe.seed, names, self._pair)

    def _pair(self, row: Row, rng: np.random.Generator) -> Batch:
        settings = self.recipe.input
        if self.recipe.model.frozen_trunks:
            return self._whole(row, int(rng.integers(FROZEN_FRAMES)))
        moment = Moment(row, [int(rng.integers(max(row.frames, 1)))])
        frame = self.reader.frames(moment)
        height, width = frame.shape[1:3]
        short_side = (settings.resize, settings.resize)
        geometry = augment.draw_geometry(rng, height, width, settings.size, short_side, self.recipe.flip)
        image = augment.apply_geometry(frame, geometry, settings.size)[0]
        masks = torch.from_numpy(rng.random(4).astype(np.float32))
        wave = self.reader.wave(moment, settings.seconds, inside=True)
        return {"image": image, "wave": wave, "masks": masks, "frame": moment.indices[0]}

    def _whole(self, row: Row, place: int) -> Batch:
        """One of a few frames, whole and without augmentation: its features are then computed once in the run."""
        frame = int((place + 0.5) * max(row.frames, 1) / FROZEN_FRAMES)
        if (row.id, frame) in self.known:
            return {"frame": frame}
        return {**whole_pair(self.reader, Moment(row, [frame]), self.recipe.input), "frame": frame}


@dataclass
class BoxViews(Dataset[Batch]):
    """Evaluation pairs: `image` uint8 [3, S, S], the whole frame; `wave`; `boxes` its FrameBoxes in a list."""

    reader: ClipReader
    places: list[tuple[Row, int]]
    boxes: Boxes
    recipe: LocalizationRecipe

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Batch:
        row, frame = self.places[number]
        views = whole_pair(self.reader, Moment(row, [frame]), self.recipe.input)
        return {**views, "boxes": [self.boxes[row.id][frame]], "id": row.id, "frame": frame}


def whole_pair(reader: ClipReader, moment: Moment, settings: LocalizerInput) -> Batch:
    """`image` uint8 [3, S, S], the whole frame resized to a square, and `wave` [samples] around it."""
    image = augment.resize(reader.frames(moment)[0].permute(2, 0, 1), (settings.size, settings.size), "bicubic")
    return {"image": image, "wave": reader.wave(moment, settings.seconds, inside=True)}


@dataclass
class LocalizationData:
    """What a localization run reads: pairs of `manifest`, and the frames with boxes of what `judged` reads."""

    recipe: LocalizationRecipe
    manifest: Manifest
    views: PairViews
    plan: Plan
    judged: ClipReader
    failures: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return self.plan.steps

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of epoch `number` from step `start` on.

        Raises:
            DataError: more clips failed to decode than allowed.
        """
        limit = self.recipe.data.max_failures
        join = collate_unknown if self.recipe.model.frozen_trunks else collate
        for batch in make_loader(self.views, self.plan.batches(number, start), self.recipe.data.workers, join):
            note_failures(batch["failures"], self.failures, limit)
            yield batch

    @property
    def evaluation(self) -> Iterator[Batch]:
        """Frames of the evaluation split that have a box; none where the data set has no boxes."""
        return (
            evaluation_batches(self.recipe, self.judged, own_share()) if has_boxes(self.judged.manifest) else iter(())
        )

    def summary(self) -> dict[str, Any]:
        """The manifests' hashes and the number of training pairs."""
        return {
            "dataset": self.recipe.data.dataset,
            "manifest": self.manifest.sha256,
            "pairs": len(self.views.rows),
            "eval_dataset": self.recipe.evaluation_data.dataset,
            "eval_manifest": self.judged.manifest.sha256,
            "eval_split": self.recipe.data.eval_split,
        }


def collate_unknown(samples: list[Batch]) -> Batch:
    """As `collate`; `image` and `wave` are those of the samples that have them, whose places `read` int64 [n] names."""
    read = [place for place, sample in enumerate(samples) if "image" in sample]
    names = ("image", "wave")
    batch = collate([{name: value for name, value in sample.items() if name not in names} for sample in samples])
    pairs = collate([{name: samples[place][name] for name in names} for place in read]) if read else {}
    return {**batch, **pairs, "read": torch.tensor(read, dtype=torch.int64)}


def build_data(recipe: LocalizationRecipe) -> LocalizationData:
    """Open the manifest; every training clip with sound makes a pair, no label is read.

    Raises:
        DataError: no manifest, files gone, no training clip with sound, or no boxes where `evaluate.dataset` is given.
    """
    manifest = open_manifest(recipe.data)
    rows = [row for row in manifest.of_split(recipe.data.train_split) if row.audio]
    if not rows:
        raise DataError(f"{manifest.path}: no clip with sound in split {recipe.data.train_split!r}")
    check_files(manifest, rows)
    reader = judged = pair_reader(recipe, manifest)
    if recipe.evaluate.dataset is not None:
        judged = pair_reader(recipe, open_manifest(recipe.evaluation_data))
        read_boxes(judged.manifest)
    plan = Plan(len(rows), 0, recipe.train.batch, 0, recipe.seed, share=own_share())
    return LocalizationData(recipe, manifest, PairViews(reader, rows, recipe), plan, judged)


def pair_reader(recipe: LocalizationRecipe, manifest: Manifest) -> ClipReader:
    """What reads single frames with their sound, of the recipe's sizes."""
    settings = recipe.input
    clip = Clip(frames=1, stride=1, size=settings.size, short_side=(settings.resize, settings.resize))
    kept = {"keep": recipe.data.keep_decoded, "share": recipe.data.share_decoded}
    return ClipReader(manifest, clip, Audio(seconds=settings.seconds), **kept)


def evaluation_batches(recipe: LocalizationRecipe, reader: ClipReader, share: Share | None = None) -> Iterator[Batch]:
    """Frames of `data.eval_split` that have a box, `evaluate.frames` spread over each clip with sound; with
    `share` some of their batches.

    Raises:
        DataError: no boxes, or a file is gone.
    """
    manifest, settings = reader.manifest, recipe.evaluate
    boxes = read_boxes(manifest)
    rows = [row for row in manifest.of_split(recipe.data.eval_split) if row.audio and row.id in boxes]
    check_files(manifest, rows)
    places = [(row, frame) for row in rows for frame in _spread(sorted(boxes[row.id]), settings.frames)]
    views = BoxViews(reader, places, boxes, recipe)
    size = settings.batch
    numbers = [list(range(i, min(i + size, len(places)))) for i in range(0, len(places), size)]
    dealt = numbers if share is None else share.deal(numbers)
    return iter(make_loader(views, dealt, recipe.data.workers, collate))


def _spread(frames: list[int], count: int) -> list[int]:
    """`count` of `frames`, evenly over them; all where there are no more."""
    if len(frames) <= count:
        return frames
    return [frames[int((i + 0.5) * len(frames) / count)] for i in range(count)]
