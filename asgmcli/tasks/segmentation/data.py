"""From a segmentation recipe to its batches: labelled frames, unlabelled ones, windows of clips that are judged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from asgmcli.data.features import Features
from asgmcli.data.frames import FrameRow, read_flow, read_frames
from asgmcli.data.loader import Draw, collate, first_decodable, make_loader, training_batches
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.plan import Plan, Planned, RankShare, SampleKey, Stream, next_clips
from asgmcli.data.split import hashed
from asgmcli.errors import DataError
from asgmcli.masks.cutmix import cutmix_boxes
from asgmcli.prepare.source import how_to_prepare, open_manifest
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.segmentation import SegmentationRecipe
from asgmcli.synthetic import GENERATED
from asgmcli.tasks.segmentation import views
from asgmcli.tasks.segmentation.batch import Batch, EvaluationBatch, Labeled, Unlabeled, join
from asgmcli.tasks.segmentation.frames import FrameReader
from asgmcli.tasks.segmentation.sounds import audio_dim, embed

LABELED, UNLABELED = "labeled", "unlabeled"
FLOW_BOUND = 20.0


@dataclass(frozen=True)
class Window:
    """Neighbouring frames of a clip that go through the network together; `masked`: whose masks may be used."""

    row: ManifestRow
    frames: tuple[FrameRow, ...]
    masked: frozenset[int] = frozenset()


@dataclass
class FrameViews(Dataset[Batch]):
    """Views of training samples."""

    reader: FrameReader
    labeled: list[Window]
    unlabeled: list[Window]
    recipe: SegmentationRecipe

    def __getitem__(self, key: SampleKey) -> Batch:
        """Return the sample's views, or those of its replacement if it cannot be read.

        Raises:
            DataError: 20 samples in a row failed.
        """
        windows = self.labeled if key.stream == LABELED else self.unlabeled
        rows = [window.row for window in windows]
        names = (key.stream, key.epoch, key.occurrence, key.number)

        def sample(draw: Draw) -> Batch:
            window = windows[draw.number]
            if key.stream == LABELED:
                return Batch([draw.row.id], draw.failures, self._labeled(window, draw.rng), None)
            return Batch([draw.row.id], draw.failures, None, self._unlabeled(window, draw.rng))

        return first_decodable(rows, key.number, self.recipe.seed, names, sample)

    def _labeled(self, window: Window, rng: np.random.Generator) -> Labeled:
        settings, size = self.recipe.augment, self.recipe.input.size
        crop = views.draw_crop(rng, size, settings.resize, settings.flip)
        image = views.crop_image(self.reader.images(window.frames), crop, size)
        masks, known = self.reader.masks([f if f.place in window.masked else _unmasked(f) for f in window.frames])
        # As released: beyond the picture a labelled frame counts as sounding.
        counting = settings.padding == "reference"
        mask = views.crop_mask(masks, crop, size, outside=counting)
        counted = torch.ones(size, size, dtype=torch.bool) if counting else views.inside(crop, size)
        audio = self.reader.audio(window.row.id, window.frames)
        return Labeled(image, self._flow(window, crop), audio, mask, counted.expand(mask.shape).clone(), known)

    def _unlabeled(self, window: Window, rng: np.random.Generator) -> Unlabeled:
        settings, size = self.recipe.augment, self.recipe.input.size
        crop = views.draw_crop(rng, size, settings.resize, settings.flip)
        weak = views.crop_image(self.reader.images(window.frames), crop, size)
        strong = views.strengthen(weak, rng)
        box = cutmix_boxes(1, size, rng, self.recipe.cutmix.probability)[0]
        masks, known = self.reader.masks(window.frames)
        mask = views.crop_mask(masks, crop, size)
        inside = views.inside(crop, size) if settings.padding == "ignore" else torch.ones(size, size, dtype=torch.bool)
        audio = self.reader.audio(window.row.id, window.frames)
        counted = inside.expand(mask.shape).clone()
        return Unlabeled(weak, strong, self._flow(window, crop), audio, counted, box, mask, known)

    def _flow(self, window: Window, crop: views.Crop) -> torch.Tensor | None:
        if not self.recipe.reads_flow:
            return None
        flow = self.reader.flow(window.row.id, window.frames)
        return views.crop_flow(flow, crop, self.recipe.input.size, self.recipe.augment.flow, self.recipe.flow.padding)


def _unmasked(frame: FrameRow) -> FrameRow:
    return FrameRow(frame.frame, frame.image, "", frame.flow, frame.place)


@dataclass
class WholeFrames(Dataset[EvaluationBatch]):
    """Windows that are judged; `others` names the clip whose sound each clip is judged with once more."""

    reader: FrameReader
    windows: list[Window]
    reads_flow: bool
    others: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, number: int) -> EvaluationBatch:
        window, reader = self.windows[number], self.reader
        clip, frames = window.row.id, window.frames
        masks, known = reader.masks(frames)
        other = None
        if self.others:
            heard = reader.frames[self.others[clip]]
            other = reader.audio(self.others[clip], [heard[min(frame.place, len(heard) - 1)] for frame in frames])
        flow = reader.flow(clip, frames) if self.reads_flow else None
        first = torch.tensor(frames[0].place)
        return EvaluationBatch(
            [clip], first, reader.images(frames), flow, reader.audio(clip, frames), other, masks, known
        )


@dataclass
class SegmentationData(Planned):
    """The data of a segmentation run.

    Attributes:
        flow_kind: how its flow was made: farneback, raft, released, none.
        flow_bound: largest displacement that its flow holds, pixels.
        notes: what a user should know of them, a sentence each.
    """

    recipe: SegmentationRecipe
    manifest: Manifest
    views: FrameViews
    plan: Plan
    reader: FrameReader
    flow_kind: str
    flow_bound: float
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` from step `start` on.

        Raises:
            DataError: more frames failed to decode than allowed.
        """
        settings = self.recipe.data
        keys, failed = self.plan.batches(number, start), self.failures
        return training_batches(self.views, keys, settings.workers, join, failed, settings.max_failures)

    @property
    def evaluation(self) -> Iterator[EvaluationBatch]:
        """Return the clips of the evaluation split, with another clip's sound beside each one's own."""
        return evaluation_batches(self.recipe, self.reader, self.recipe.data.eval_split, own_share(), exchange=True)

    @property
    def validation(self) -> Iterator[EvaluationBatch] | None:
        """Return the clips of the validation split; None if there is none."""
        split = self.recipe.data.val_split
        if not judged_windows(self.recipe, self.reader, split):
            return None
        return evaluation_batches(self.recipe, self.reader, split, own_share())

    def summary(self) -> dict[str, Any]:
        """Return the manifest's hash and the number of samples by use."""
        return {
            "dataset": self.recipe.data.dataset,
            "manifest": self.manifest.sha256,
            "labeled": len(self.views.labeled),
            "unlabeled": len(self.views.unlabeled),
            "eval_split": self.recipe.data.eval_split,
            "flow_bound": self.flow_bound if self.recipe.reads_flow else None,
        }


def build_data(recipe: SegmentationRecipe) -> SegmentationData:
    """Open the manifest and its frames, and draw the labelled ones.

    Raises:
        DataError: no manifest, no frames, no labelled frame, frames of another size, no flow where the network reads
            it, flow of another length, or no frame with a mask to judge on.
    """
    manifest = open_manifest(recipe.data)
    reader = open_reader(recipe, manifest, embed(recipe, manifest))
    labeled, unlabeled = divide(recipe, manifest, reader.frames)
    plan = plan_of(recipe, len(labeled), len(unlabeled), own_share())
    frames = FrameViews(reader, labeled, unlabeled, recipe)
    judged = judged_windows(recipe, reader, recipe.data.eval_split)
    if not judged:
        raise DataError(f"{manifest.path}: no frame of split {recipe.data.eval_split!r} has a mask to judge on")
    notes = group_notes(recipe, judged)
    return SegmentationData(recipe, manifest, frames, plan, reader, *stored_flow(manifest), notes)


def open_reader(recipe: SegmentationRecipe, manifest: Manifest, sounds: Features | None) -> FrameReader:
    """Return a reader of the manifest's frames, which are checked to suit the recipe.

    Raises:
        DataError: frames of another size, or no flow where the network reads it, or flow of another length.
    """
    frames = read_frames(manifest)
    size = recipe.input.size
    wrong = next((row for row in manifest.rows if (row.width, row.height) != (size, size)), None)
    if wrong is not None:
        raise DataError(
            f"{manifest.path}: frames of {wrong.width}x{wrong.height} pixels ({wrong.id}) where input.size is {size}. "
            f"Set input.size, or prepare the data set again."
        )
    if recipe.reads_flow:
        with_flow = [row for row in manifest.rows if frames[row.id][0].flow]
        if not with_flow:
            raise DataError(
                f"{manifest.path}: no clip has optical flow, which flow.encoder={recipe.flow.encoder} reads. "
                f"{_how_to_make_flow(recipe)}, or set flow.encoder=none."
            )
        for row in with_flow:
            read_flow(manifest.folder / frames[row.id][0].flow, len(frames[row.id]), (size, size))
    return FrameReader(manifest, frames, size, sounds, audio_dim(recipe.audio), recipe.data.keep_decoded)


def _how_to_make_flow(recipe: SegmentationRecipe) -> str:
    """Return what to type where a data set has no flow; a generated one always has, and no option for it."""
    option = "" if recipe.data.dataset in GENERATED else "--flow farneback "
    return f"{how_to_prepare(recipe.data)}; add {option}--overwrite"


def stored_flow(manifest: Manifest) -> tuple[str, float]:
    """Return how a data set's flow was made, and the pixels that it holds at most (`FLOW_BOUND` if unknown)."""
    try:
        flow = json.loads((manifest.folder / "summary.json").read_text(encoding="utf-8"))["flow"]
        bound = flow["bound"]
        return str(flow["kind"]), FLOW_BOUND if bound is None else float(bound)
    except (OSError, ValueError, KeyError, TypeError):
        return "farneback", FLOW_BOUND


def plan_of(recipe: SegmentationRecipe, labeled: int, unlabeled: int, share: RankShare | None = None) -> Plan:
    """Return which samples of two lists so long every step has: an epoch is the labelled list once."""
    batch, settings = recipe.train.batch, recipe.train
    streams = {LABELED: Stream(labeled, batch)}
    if recipe.semi_supervised and unlabeled:
        streams[UNLABELED] = Stream(
            unlabeled, batch * settings.unlabeled_ratio, first_epoch=recipe.burn_in, follows=True
        )
    return Plan(streams, recipe.seed, share or RankShare())


def divide(
    recipe: SegmentationRecipe, manifest: Manifest, frames: dict[str, list[FrameRow]]
) -> tuple[list[Window], list[Window]]:
    """Return the samples that are trained on with masks, and those without.

    Raises:
        DataError: no training frame has a mask, or no frame is left to be trained on without one.
    """
    settings, length = recipe.data, recipe.train.frames
    rows = manifest.of_split(settings.train_split)
    masked = [row for row in rows if any(frame.mask for frame in frames[row.id])]
    if not masked:
        raise DataError(f"{manifest.path}: no frame of split {settings.train_split!r} has a mask to train on")
    chosen = labeled_clips(
        masked, settings.labeled_share, recipe.seed if settings.split_seed is None else settings.split_seed
    )
    used = {row.id: _used(frames[row.id], settings.labeled_frames) for row in rows if row.id in chosen}
    labeled = [
        Window(row, part, used[row.id])
        for row in rows
        if row.id in chosen
        for part in whole_windows(frames[row.id], length)
        if any(frame.place in used[row.id] for frame in part)
    ]
    if not recipe.semi_supervised:
        return labeled, []
    pool = rows if settings.unlabeled == "rest" else [row for row in rows if row.id in chosen]
    unlabeled = [
        Window(row, part)
        for row in pool
        for part in whole_windows(frames[row.id], length)
        if not any(frame.place in used.get(row.id, ()) for frame in part)
    ]
    if not unlabeled:
        raise DataError(
            f"{manifest.path}: every training frame's mask is used, none is left to be trained on without. Lower "
            "data.labeled_share, set data.labeled_frames=first with train.frames=1, or train.unlabeled_ratio=0."
        )
    return labeled, unlabeled


def _used(frames: Sequence[FrameRow], which: str) -> frozenset[int]:
    places = [frame.place for frame in frames if frame.mask]
    return frozenset(places[:1] if which == "first" else places)


def windows_of(frames: Sequence[FrameRow], length: int) -> list[tuple[FrameRow, ...]]:
    """Return a clip's frames in windows of `length`, the last perhaps shorter."""
    return [tuple(frames[start : start + length]) for start in range(0, len(frames), length)]


def whole_windows(frames: Sequence[FrameRow], length: int) -> list[tuple[FrameRow, ...]]:
    """Return a clip's frames in windows of exactly `length`, as a training batch takes them.

    The last one reaches back; a clip of fewer frames repeats its last.
    """
    padded = [*frames, *[frames[-1]] * (length - len(frames))]
    starts = [min(start, len(padded) - length) for start in range(0, len(padded), length)]
    return [tuple(padded[start : start + length]) for start in starts]


def labeled_clips(rows: Sequence[ManifestRow], share: float, seed: int) -> set[str]:
    """Return the ids of the clips whose masks are used: `share` of all, in each category by largest remainder.

    Within a category those with the smallest seeded hash of their id.
    """
    if share >= 1:
        return {row.id for row in rows}
    counts = Counter(row.label for row in rows)
    wanted = {label: share * count for label, count in counts.items()}
    given = {label: int(value) for label, value in wanted.items()}
    total = max(1, round(share * len(rows)))
    order = sorted(wanted, key=lambda label: (given[label] - wanted[label], label))
    for label in order[: max(total - sum(given.values()), 0)]:
        given[label] += 1
    chosen: set[str] = set()
    for label, count in given.items():
        clips = sorted((hashed(seed, row.id), row.id) for row in rows if row.label == label)
        chosen |= {name for _, name in clips[:count]}
    return chosen


def judged_windows(recipe: SegmentationRecipe, reader: FrameReader, split: str) -> list[Window]:
    """Return the windows of a split's clips that have a frame with a mask."""
    return [
        Window(row, part)
        for row in reader.manifest.of_split(split)
        for part in windows_of(reader.frames[row.id], recipe.evaluate.frames)
        if any(frame.mask for frame in part)
    ]


def evaluation_batches(
    recipe: SegmentationRecipe,
    reader: FrameReader,
    split: str,
    share: RankShare | None = None,
    *,
    exchange: bool = False,
) -> Iterator[EvaluationBatch]:
    """Yield the clips of a split in windows, batches of equally long ones; `share` selects a rank's.

    Raises:
        DataError: a file is gone or broken.
    """
    windows = judged_windows(recipe, reader, split)
    others = next_clips(list(dict.fromkeys(window.row.id for window in windows))) if exchange else {}
    if recipe.audio.kind == "none":
        others = {}
    batches: list[list[int]] = []
    for number, window in enumerate(windows):
        fits = batches and len(batches[-1]) < recipe.evaluate.batch
        if fits and len(windows[batches[-1][0]].frames) == len(window.frames):
            batches[-1].append(number)
        else:
            batches.append([number])
    frames = WholeFrames(reader, windows, recipe.reads_flow, others)
    dealt = batches if share is None else list(share.deal(batches))
    return make_loader(frames, dealt, recipe.data.workers, collate)


def group_notes(recipe: SegmentationRecipe, windows: Sequence[Window]) -> list[str]:
    """Return a sentence where the last group of F has fewer videos than the others."""
    videos, group = len({window.row.id for window in windows}), recipe.evaluate.group
    left = videos % group
    if not left or videos < group:
        return []
    return [f"F is of groups of {group} videos (evaluate.group); the last group has {left} of the {videos:,} videos."]
