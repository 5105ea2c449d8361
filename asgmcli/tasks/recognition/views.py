"""Evaluation views of a network, whatever manifest the clips come from.

One decode of a clip serves its weak and its strong view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asgmcli.data import augment
from asgmcli.data.augment import Geometry, SoundMasks
from asgmcli.data.guides import ViewMaps
from asgmcli.data.loader import Draw, collate, first_decodable, make_loader, training_batches
from asgmcli.data.manifest import Manifest, ManifestRow, check_files
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.data.plan import Plan, Planned, RankShare, SampleKey
from asgmcli.data.reader import RATE, ClipReader, Moment
from asgmcli.errors import DataError
from asgmcli.media.audio import HOP_MS
from asgmcli.media.mel import band_hertz
from asgmcli.recipe.clips import Augment, Clip
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition.batch import Batch, EvaluationBatch, Labeled, Unlabeled

LABELED, UNLABELED = "labeled", "unlabeled"
"""The streams of a plan."""


@dataclass
class TrainViews(Dataset[Labeled | Unlabeled]):
    """The views of one training clip.

    Args:
        reader: decodes.
        labeled: rows of the labelled list; unlabeled: rows of the other.
        labels: class index of each row of the manifest by id, -1 where unknown. Those of unlabelled rows are only
            reported, never trained on.
        clip, augment: sizes and strengths.
        mel_statistics: of the data set, or None to leave the sound out.
        guide_seconds: length of sound the localizer listens to, or None without one.
        seed: of all draws.
        guide_masked: the localizer does not hear the bands and spans that the student's sound lacks.
        maps: of a guide that is known beforehand, or None. They follow the strong view, whose RandAugment then uses its
            colour operations only.
        tubelet: frames a token of the network spans; time is warped in steps of it.
        sees: the network takes the picture; else no frame is read, and its views are empty.
    """

    reader: ClipReader
    labeled: list[ManifestRow]
    unlabeled: list[ManifestRow]
    labels: dict[str, int]
    clip: Clip
    augment: Augment
    mel_statistics: LogMelStatistics | None
    guide_seconds: float | None
    seed: int
    guide_masked: bool = False
    maps: ViewMaps | None = None
    tubelet: int = 1
    sees: bool = True
    failures: list[str] = field(default_factory=list)

    def __getitem__(self, key: SampleKey) -> Labeled | Unlabeled:
        """Return the clip's views, or those of its replacement if it cannot be decoded.

        Raises:
            DataError: 20 clips in a row failed.
        """
        names = (key.stream, key.epoch, key.occurrence)
        if key.stream == LABELED:
            return first_decodable(self.labeled, key.number, self.seed, names, self._labeled)
        return first_decodable(self.unlabeled, key.number, self.seed, names, self._unlabeled)

    def _moment(self, row: ManifestRow, rng: np.random.Generator) -> Moment:
        return self.reader.random_moment(row, float(rng.random()))

    def _geometry(self, frames: Tensor, rng: np.random.Generator, flip: float) -> Geometry:
        height, width = frames.shape[1:3]
        return augment.draw_geometry(rng, height, width, self.clip.size, self.clip.short_side, flip)

    def _weak(self, frames: Tensor, rng: np.random.Generator, flip: float) -> Tensor:
        return augment.apply_geometry(frames, self._geometry(frames, rng, flip), self.clip.size)

    def _strong(self, frames: Tensor, geometry: Geometry, rng: np.random.Generator) -> Tensor:
        view = augment.apply_geometry(frames, geometry, self.clip.size)
        settings = self.augment
        geometric = settings.geometric and self.maps is None
        return augment.rand_augment(view, rng, settings.operations, settings.magnitude, geometric=geometric)

    def _sound(self, moment: Moment) -> Tensor | None:
        return None if self.mel_statistics is None else self.mel_statistics.normalise(self.reader.log_mel(moment))

    def _wave_masks(self, moment: Moment, masks: SoundMasks, seconds: float) -> Tensor:
        """Return [4]: the student's masks as frequencies, Hz, and as times, s, of the localizer's sound."""
        if not moment.row.audio:
            return torch.zeros(4)
        audio = self.reader.audio
        own = self.reader.wave_start(moment, audio.seconds, inside=audio.inside)
        lag = own - self.reader.wave_start(moment, seconds, inside=True)
        times = (lag + step * HOP_MS / 1000 for step in masks.steps)
        return torch.tensor([*band_hertz(masks.bins, self.reader.audio.mels, RATE), *times])

    def _labeled(self, draw: Draw) -> Labeled:
        rng, settings = draw.rng, self.augment
        moment = self._moment(draw.row, rng)
        label = torch.tensor(self.labels[draw.row.id])
        frames = self.reader.frames(moment) if self.sees else _nothing()
        audio, dropped = self._sound(moment), None
        if settings.labeled == "weak":
            video = self._weak(frames, rng, settings.flip) if self.sees else frames
        else:
            video = self._strong(frames, self._geometry(frames, rng, settings.flip), rng) if self.sees else frames
            dropped = torch.tensor(augment.draw_dropped_channels(rng, settings.channel_dropout, settings.channels))
            if audio is not None:
                audio = augment.spec_augment(audio, rng, settings.frequency_mask, settings.time_mask, 0.0)
        return Labeled(video, label, [draw.row.id], draw.failures, audio, dropped)

    def _unlabeled(self, draw: Draw) -> Unlabeled:
        row, rng, settings = draw.row, draw.rng, self.augment
        moment = self._moment(row, rng)
        frames = self.reader.frames(moment) if self.sees else _nothing()
        positions = self.clip.frames // self.tubelet
        # The order of what follows is that of the random choices.
        weak, strong, geometry = frames, frames, None
        if self.sees:
            weak = self._weak(frames, rng, settings.flip if settings.weak_flip is None else settings.weak_flip)
            geometry = self._geometry(frames, rng, settings.flip)
            strong = self._strong(frames, geometry, rng)
        dropped = augment.draw_dropped_channels(rng, settings.channel_dropout, settings.channels)
        unwarped = list(range(positions))
        warp = augment.draw_warp(rng, positions, settings.warp_filler) if settings.temporal_warp else unwarped
        audio = self._sound(moment)
        strong_audio, wave, wave_masks, maps = None, None, None, None
        if audio is not None:
            masks = augment.draw_sound_masks(audio, rng, settings.frequency_mask, settings.time_mask)
            strong_audio = masks.applied(audio, fill=0.0)
        if self.guide_seconds is not None:
            wave = self.reader.wave(moment, self.guide_seconds, inside=True)
            if audio is not None and self.guide_masked:
                wave_masks = self._wave_masks(moment, masks, self.guide_seconds)
        if self.maps is not None and geometry is not None:
            maps = self.maps.of_view(row, moment.indices, geometry, (frames.shape[1], frames.shape[2]))
        return Unlabeled(
            weak=weak,
            strong=strong,
            dropped=torch.tensor(dropped),
            warp=torch.tensor(warp),
            number=torch.tensor(draw.number),
            label=torch.tensor(self.labels[row.id]),
            ids=[row.id],
            failures=draw.failures,
            audio=audio,
            strong_audio=strong_audio,
            wave=wave,
            wave_masks=wave_masks,
            maps=maps,
        )


def _nothing() -> Tensor:
    """Return the picture of a clip that is only heard."""
    return torch.empty(0, dtype=torch.uint8)


def collate_streams(samples: Sequence[Labeled | Unlabeled]) -> Batch:
    """Join one step's samples."""
    labeled = [sample for sample in samples if isinstance(sample, Labeled)]
    unlabeled = [sample for sample in samples if isinstance(sample, Unlabeled)]
    return Batch(collate(labeled), collate(unlabeled) if unlabeled else None)


@dataclass
class TrainLoader(Planned):
    """An epoch's batches, in the plan's order whatever the number of workers.

    Args:
        views: samples by key.
        plan: which keys.
        workers: processes that decode; 0 decodes in this one.
        max_failures: clips that may fail to decode before the run stops.
    """

    views: TrainViews
    plan: Plan
    workers: int
    max_failures: int

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` from step `start` on.

        Raises:
            DataError: more clips failed to decode than allowed.
        """
        keys, failed = self.plan.batches(number, start), self.views.failures
        return training_batches(self.views, keys, self.workers, collate_streams, failed, self.max_failures)


@dataclass
class EvaluationViews(Dataset[EvaluationBatch]):
    """Several clips x crops of each video, every frame decoded once."""

    reader: ClipReader
    rows: list[ManifestRow]
    labels: dict[str, int]
    clip: Clip
    mel_statistics: LogMelStatistics | None
    clips: int
    crops: int
    inclusive: bool = True
    sees: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> EvaluationBatch:
        """Return the views of a video, V = clips x crops.

        Raises:
            MediaError: the file cannot be decoded.
        """
        row = self.rows[number]
        moments = self.reader.spread_moments(row, self.clips, inclusive=self.inclusive)
        video = self._video(row, moments) if self.sees else torch.empty(len(moments), 0, dtype=torch.uint8)
        audio = None
        if self.mel_statistics is not None:
            sounds = self.mel_statistics.normalise(self.reader.log_mels(moments))
            audio = sounds.repeat_interleave(len(video) // len(moments), dim=0)
        return EvaluationBatch(video, torch.tensor(self.labels[row.id]), [row.id], [row.split], audio)

    def _video(self, row: ManifestRow, moments: Sequence[Moment]) -> Tensor:
        """Return uint8 [V, T, 3, S, S], the crops of each clip."""
        # Clips that overlap share frames: each is decoded and resized once, the file opened once.
        wanted = sorted({index for moment in moments for index in moment.indices})
        seen = augment.crops(self.reader.frames(Moment(row, wanted)), self.clip.size, self.crops)
        place = {index: position for position, index in enumerate(wanted)}
        return torch.cat([seen[:, [place[index] for index in moment.indices]] for moment in moments])


def labeled_rows(manifest: Manifest, split: str) -> list[ManifestRow]:
    """Return the clips of `split` that have a label.

    Raises:
        DataError: there is none; the message says where some are.
    """
    rows = [row for row in manifest.of_split(split) if row.label]
    if not rows:
        others = sorted({row.split for row in manifest.rows if row.label})
        hint = f"Splits with labels: {', '.join(others)}." if others else "The manifest holds no label at all."
        raise DataError(f"{manifest.path}: no labelled clip in split {split!r} to evaluate on. {hint}")
    return rows


def evaluation_views(
    recipe: RecognitionRecipe,
    reader: ClipReader,
    rows: Sequence[ManifestRow],
    labels: dict[str, int],
    mel_statistics: LogMelStatistics | None,
) -> EvaluationViews:
    """Return the views of `rows`, `evaluate.clips` x `evaluate.crops` each."""
    settings = recipe.evaluate
    views = (settings.clips, settings.crops, settings.starts == "inclusive", recipe.sees)
    return EvaluationViews(reader, list(rows), labels, recipe.clip, mel_statistics, *views)


def evaluation_batches(
    recipe: RecognitionRecipe,
    reader: ClipReader,
    rows: Sequence[ManifestRow],
    labels: dict[str, int],
    mel_statistics: LogMelStatistics | None,
    share: RankShare | None = None,
) -> Iterator[EvaluationBatch]:
    """Yield batches of `rows` in their order, `evaluate.clips` x `evaluate.crops` views each; `share` selects a rank's.

    Raises:
        DataError: a file is gone.
    """
    check_files(reader.manifest, rows)
    settings = recipe.evaluate
    views = evaluation_views(recipe, reader, rows, labels, mel_statistics)
    numbers = [list(range(i, min(i + settings.batch, len(rows)))) for i in range(0, len(rows), settings.batch)]
    dealt = numbers if share is None else share.deal(numbers)
    return make_loader(views, dealt, recipe.data.workers, collate)
