"""Pairs of image and sound: a random frame of each clip with the sound around it; boxes for the evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from asgmcli.data import augment
from asgmcli.data.boxes import Boxes, has_boxes, read_boxes
from asgmcli.data.loader import Draw, collate, first_decodable, make_loader, training_batches
from asgmcli.data.manifest import Manifest, ManifestRow, check_files
from asgmcli.data.mel_statistics import LogMelStatistics, measure_log_mel
from asgmcli.data.plan import Plan, Planned, RankShare, SampleKey, Stream
from asgmcli.data.reader import ClipReader, Moment
from asgmcli.errors import DataError
from asgmcli.prepare.source import open_manifest
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.clips import Clip
from asgmcli.recipe.localization import LocalizationRecipe, LocalizerInput
from asgmcli.tasks.localization.batch import Batch, BoxBatch, FrozenBatch, Pairs

FROZEN_FRAMES = 4  # a clip, where only projections train

Place = tuple[str, int]
"""A clip's id and a frame of it."""


@dataclass
class PairViews(Dataset[Batch | FrozenBatch]):
    """Training pairs; with frozen trunks without picture and sound where `known` has the clip and frame.

    What is known is decided elsewhere, at any time: a pair that is read though it is known by now does no harm.
    """

    reader: ClipReader
    rows: list[ManifestRow]
    recipe: LocalizationRecipe
    known: set[Place] = field(default_factory=set)

    def __getitem__(self, key: SampleKey) -> Batch | FrozenBatch:
        """Return the clip's pair, or its replacement's if it cannot be decoded.

        Raises:
            DataError: 20 clips in a row failed.
        """
        names = ("pair", key.epoch, key.occurrence)
        if self.recipe.model.keeps_trunks:
            return first_decodable(self.rows, key.number, self.recipe.seed, names, self._whole)
        return first_decodable(self.rows, key.number, self.recipe.seed, names, self._pair)

    def _pair(self, draw: Draw) -> Batch:
        settings, rng = self.recipe.input, draw.rng
        moment = Moment(draw.row, [int(rng.integers(max(draw.row.frames, 1)))])
        frame = self.reader.frames(moment)
        height, width = frame.shape[1:3]
        short_side = (settings.resize, settings.resize)
        geometry = augment.draw_geometry(rng, height, width, settings.size, short_side, self.recipe.flip)
        image = augment.apply_geometry(frame, geometry, settings.size)[0]
        masks = torch.from_numpy(rng.random(4).astype(np.float32))
        wave = self.reader.wave(moment, settings.seconds, inside=True)
        return Batch([draw.row.id], draw.failures, Pairs(image, wave), masks)

    def _whole(self, draw: Draw) -> FrozenBatch:
        """Return one of a few frames, whole and without augmentation; its features are computed once."""
        row, place = draw.row, int(draw.rng.integers(FROZEN_FRAMES))
        frame = int((place + 0.5) * max(row.frames, 1) / FROZEN_FRAMES)
        read = (row.id, frame) not in self.known
        pair = whole_pair(self.reader, Moment(row, [frame]), self.recipe.input) if read else None
        return FrozenBatch([row.id], draw.failures, torch.tensor(frame), torch.tensor(read), pair)


@dataclass
class BoxViews(Dataset[BoxBatch]):
    """Evaluation pairs of whole frames with their boxes."""

    reader: ClipReader
    places: list[tuple[ManifestRow, int]]
    boxes: Boxes
    recipe: LocalizationRecipe

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> BoxBatch:
        row, frame = self.places[number]
        pair = whole_pair(self.reader, Moment(row, [frame]), self.recipe.input)
        return BoxBatch([row.id], torch.tensor(frame), [self.boxes[row.id][frame]], pair)


def whole_pair(reader: ClipReader, moment: Moment, settings: LocalizerInput) -> Pairs:
    """Return `image` uint8 [3, S, S], the whole frame resized to a square, and `wave` [samples] around it."""
    image = augment.resize(reader.frames(moment)[0].permute(2, 0, 1), (settings.size, settings.size), "bicubic")
    return Pairs(image, reader.wave(moment, settings.seconds, inside=True))


@dataclass
class LocalizationData(Planned):
    """The data of a localization run: pairs of `manifest` to train on, and frames with boxes that `evaluated` reads."""

    recipe: LocalizationRecipe
    manifest: Manifest
    views: PairViews
    plan: Plan
    evaluated: ClipReader
    failures: list[str] = field(default_factory=list)
    mel_statistics: LogMelStatistics | None = None  # of the training clips, for the ears of kind start

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch | FrozenBatch]:
        """Yield the batches of epoch `number` from step `start` on.

        Raises:
            DataError: more clips failed to decode than allowed.
        """
        settings = self.recipe.data
        keys, failed = self.plan.batches(number, start), self.failures
        return training_batches(self.views, keys, settings.workers, collate_pairs, failed, settings.max_failures)

    @property
    def evaluation(self) -> Iterator[BoxBatch]:
        """Return the frames of the evaluation split that have a box; none if the data set has no boxes."""
        return (
            evaluation_batches(self.recipe, self.evaluated, own_share())
            if has_boxes(self.evaluated.manifest)
            else iter(())
        )

    def summary(self) -> dict[str, object]:
        """Return the manifests' hashes and the number of training pairs."""
        return {
            "dataset": self.recipe.data.dataset,
            "manifest": self.manifest.sha256,
            "pairs": len(self.views.rows),
            "eval_dataset": self.recipe.evaluation_data.dataset,
            "eval_manifest": self.evaluated.manifest.sha256,
            "eval_split": self.recipe.data.eval_split,
        }


def collate_pairs(samples: list[Batch | FrozenBatch]) -> Batch | FrozenBatch:
    """Join samples; `pairs` holds those of the samples that were read."""
    frozen = [sample for sample in samples if isinstance(sample, FrozenBatch)]
    if not frozen:
        return collate(samples)
    found = [sample.pairs for sample in frozen if sample.pairs is not None]
    batch = collate([replace(sample, pairs=None) for sample in frozen])
    return replace(batch, pairs=collate(found) if found else None)


def plan_of(recipe: LocalizationRecipe, pairs: int, share: RankShare | None = None) -> Plan:
    """Return which of so many pairs every step has, with `share` this process's part of it."""
    # The seed's name is that of the runs in RESULTS.md: under another their shuffles would be others.
    stream = Stream(pairs, recipe.train.batch, seed_name="labeled")
    return Plan({"pairs": stream}, recipe.seed, share or RankShare())


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
    reader = evaluated = pair_reader(recipe, manifest)
    if recipe.evaluate.dataset is not None:
        evaluated = pair_reader(recipe, open_manifest(recipe.evaluation_data))
        read_boxes(evaluated.manifest)
    plan = plan_of(recipe, len(rows), own_share())
    statistics = measure_log_mel(reader, rows) if recipe.model.kind == "start" else None
    views = PairViews(reader, rows, recipe)
    return LocalizationData(recipe, manifest, views, plan, evaluated, mel_statistics=statistics)


def pair_reader(recipe: LocalizationRecipe, manifest: Manifest) -> ClipReader:
    """Return a reader of single frames with their sound, of the recipe's sizes."""
    settings = recipe.input
    clip = Clip(frames=1, stride=1, size=settings.size, short_side=(settings.resize, settings.resize))
    kept = {"keep": recipe.data.keep_decoded, "share": recipe.data.share_decoded}
    return ClipReader(manifest, clip, recipe.sound, **kept)


def evaluation_batches(
    recipe: LocalizationRecipe, reader: ClipReader, share: RankShare | None = None
) -> Iterator[BoxBatch]:
    """Yield the frames of `data.eval_split` that have a box, `evaluate.frames` spread over each clip with sound.

    `share` selects a rank's batches.

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
    return make_loader(views, dealt, recipe.data.workers, collate)


def _spread(frames: list[int], count: int) -> list[int]:
    """Return `count` of `frames`, evenly over them; all where there are no more."""
    if len(frames) <= count:
        return frames
    return [frames[int((i + 0.5) * len(frames) / count)] for i in range(count)]
