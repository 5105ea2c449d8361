"""Batches of views: every sample is a pure function of (seed, epoch, occurrence, clip id).

One decode of a clip serves its weak and its strong view. A clip that fails to decode in training is named, counted and
replaced by another of its stream, the same one in every run; past a limit the run stops. In evaluation nothing is
replaced.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asgmcli.data import augment
from asgmcli.data.augment import Geometry
from asgmcli.data.guides import ViewMaps
from asgmcli.data.manifest import Row
from asgmcli.data.plan import Plan, SampleKey, Stream, generator
from asgmcli.data.reader import ClipReader, Moment
from asgmcli.errors import AsgmError, DataError, MediaError
from asgmcli.media.clips import random_start, uniform_starts
from asgmcli.recipe.clips import Augment, Clip

REPLACEMENTS = 20
Batch = dict[str, Any]


@dataclass(frozen=True)
class Loudness:
    """Mean and standard deviation of a data set's log-mel values (the AST convention divides by twice the latter)."""

    mean: float
    std: float

    def normalise(self, logmel: Tensor) -> Tensor:
        """(x - mean) / (2 std), elementwise."""
        return (logmel - self.mean) / (2 * self.std)


@dataclass
class TrainViews(Dataset[Batch]):
    """The views of one training clip.

    Args:
        reader: decodes.
        labeled: rows of the labelled list; unlabeled: rows of the other.
        labels: class index of each row of the manifest by id, -1 where unknown. Those of unlabelled rows are only
            reported, never trained on.
        clip, augment: sizes and strengths.
        loudness: of the data set, or None to leave the sound out.
        guide_seconds: length of sound the localizer listens to, or None without one.
        seed: of all draws.
        maps: of a guide that is known beforehand, or None. They follow the strong view, whose RandAugment then uses its
            colour operations only.
        tubelet: frames a token of the network spans; time is warped in steps of it.
    """

    reader: ClipReader
    labeled: list[Row]
    unlabeled: list[Row]
    labels: dict[str, int]
    clip: Clip
    augment: Augment
    loudness: Loudness | None
    guide_seconds: float | None
    seed: int
    maps: ViewMaps | None = None
    tubelet: int = 1
    failures: list[str] = field(default_factory=list)

    def __getitem__(self, key: SampleKey) -> Batch:
        """The clip's views, or those of its replacement where it cannot be decoded.

        Raises:
            DataError: 20 clips in a row failed.
        """
        rows = self.labeled if key.stream == "labeled" else self.unlabeled
        names = (key.stream, key.epoch, key.occurrence)
        return first_decodable(rows, key.number, self.seed, names, self._views(key.stream), self.labels)

    def _views(self, stream: Stream) -> Callable[[Row, np.random.Generator], Batch]:
        return self._labeled if stream == "labeled" else self._unlabeled

    def _moment(self, row: Row, rng: np.random.Generator) -> Moment:
        start = random_start(max(row.frames, 1), self.clip.frames, self.clip.stride, float(rng.random()))
        return self.reader.moment(row, start)

    def _geometry(self, frames: Tensor, rng: np.random.Generator) -> Geometry:
        height, width = frames.shape[1:3]
        return augment.draw_geometry(rng, height, width, self.clip.size, self.clip.short_side, self.augment.flip)

    def _weak(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        return augment.apply_geometry(frames, self._geometry(frames, rng), self.clip.size)

    def _strong(self, frames: Tensor, geometry: Geometry, rng: np.random.Generator) -> Tensor:
        view = augment.apply_geometry(frames, geometry, self.clip.size)
        settings = self.augment
        geometric = settings.geometric and self.maps is None
        return augment.rand_augment(view, rng, settings.operations, settings.magnitude, geometric=geometric)

    def _labeled(self, row: Row, rng: np.random.Generator) -> Batch:
        """`video` uint8 [T, 3, S, S]; `audio` float [L, M] where the sound is used."""
        moment = self._moment(row, rng)
        views: Batch = {"video": self._weak(self.reader.frames(moment), rng)}
        if self.loudness is not None:
            views["audio"] = self.loudness.normalise(self.reader.log_mel(moment))
        return views

    def _unlabeled(self, row: Row, rng: np.random.Generator) -> Batch:
        """`weak` and `strong` uint8 [T, 3, S, S], `dropped` channel, `warp` [T / tubelet]; `audio` and `strong_audio`
        [L, M].

        `strong` is before channel dropout, as the localizer sees it, together with `wave` [S]; `map` [T, h, w] is what
        a localizer saw beforehand, where the strong view shows it.
        """
        moment = self._moment(row, rng)
        frames = self.reader.frames(moment)
        settings = self.augment
        positions = self.clip.frames // self.tubelet
        weak, geometry = self._weak(frames, rng), self._geometry(frames, rng)
        views: Batch = {
            "weak": weak,
            "strong": self._strong(frames, geometry, rng),
            "dropped": augment.draw_dropped_channel(rng, settings.channel_dropout),
            "warp": torch.tensor(augment.draw_warp(rng, positions) if settings.temporal_warp else range(positions)),
        }
        if self.loudness is not None:
            views["audio"] = self.loudness.normalise(self.reader.log_mel(moment))
            masks = (settings.frequency_mask, settings.time_mask)
            views["strong_audio"] = augment.spec_augment(views["audio"], rng, *masks, fill=0.0)
        if self.guide_seconds is not None:
            views["wave"] = self.reader.wave(moment, self.guide_seconds, inside=True)
        if self.maps is not None:
            views["map"] = self.maps.of_view(row, moment.indices, geometry, (frames.shape[1], frames.shape[2]))
        return views


@dataclass
class EvaluationViews(Dataset[Batch]):
    """Several clips x crops of each video, every frame decoded once."""

    reader: ClipReader
    rows: list[Row]
    labels: dict[str, int]
    clip: Clip
    loudness: Loudness | None
    clips: int
    crops: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Batch:
        """`video` uint8 [V, T, 3, S, S], V = clips x crops; `audio` [V, L, M] where the sound is used.

        Raises:
            MediaError: the file cannot be decoded.
        """
        row = self.rows[number]
        starts = uniform_starts(max(row.frames, 1), self.clip.frames, self.clip.stride, self.clips)
        moments = [self.reader.moment(row, start) for start in starts]
        # Clips that overlap share frames: each is decoded once, the file opened once.
        wanted = sorted({index for moment in moments for index in moment.indices})
        decoded = self.reader.frames(Moment(row, wanted))
        place = {index: position for position, index in enumerate(wanted)}
        clips = [decoded[[place[index] for index in moment.indices]] for moment in moments]
        video = torch.cat([augment.crops(clip, self.clip.size, self.crops) for clip in clips])
        views: Batch = {"video": video, "label": self.labels[row.id], "id": row.id, "split": row.split, "failures": []}
        if self.loudness is not None:
            sounds = torch.stack([self.loudness.normalise(self.reader.log_mel(m)) for m in moments])
            views["audio"] = sounds.repeat_interleave(self.crops, dim=0)
        return views


def first_decodable(
    rows: list[Row],
    number: int,
    seed: int,
    names: tuple[object, ...],
    views: Callable[[Row, np.random.Generator], Batch],
    labels: dict[str, int] | None = None,
) -> Batch:
    """`views` of row `number`, or of its replacement where that cannot be decoded; the draws depend on `names`.

    `number`, `id`, `label` (with `labels`) and the `failures` on the way are added.

    Raises:
        DataError: 20 clips in a row failed.
    """
    failures = []
    for attempt in range(REPLACEMENTS):
        if attempt:
            number = int(generator(seed, "replace", *names, number, attempt).integers(len(rows)))
        row = rows[number]
        try:
            batch = views(row, generator(seed, "view", *names, attempt, row.id))
        except MediaError as error:
            failures.append(error.message)
            continue
        label = {} if labels is None else {"label": labels[row.id]}
        return {**batch, **label, "number": number, "id": row.id, "failures": failures}
    raise DataError(f"{REPLACEMENTS} clips in a row could not be decoded, the last: {failures[-1]}")


def collate(samples: list[Batch]) -> Batch:
    """Stack tensors, gather numbers into int64 tensors, keep ids as a list and join failures."""
    batch: Batch = {}
    for key, first in samples[0].items():
        values = [sample[key] for sample in samples]
        if isinstance(first, Tensor):
            batch[key] = torch.stack(values)
        elif isinstance(first, int):
            batch[key] = torch.tensor(values)
        elif isinstance(first, list):
            batch[key] = [text for value in values for text in value]
        else:
            batch[key] = values
    return batch


def collate_streams(samples: list[Batch]) -> Batch:
    """{"labeled": batch, "unlabeled": batch or None} from one step's samples."""
    labeled = [sample for sample in samples if "video" in sample]
    unlabeled = [sample for sample in samples if "weak" in sample]
    return {"labeled": collate(labeled), "unlabeled": collate(unlabeled) if unlabeled else None}


@dataclass
class TrainLoader:
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

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return self.plan.steps

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of epoch `number` from step `start` on.

        Raises:
            DataError: more clips failed to decode than allowed.
        """
        for batch in make_loader(self.views, self.plan.batches(number, start), self.workers, collate_streams):
            for stream in batch.values():
                note_failures(stream["failures"] if stream else [], self.views.failures, self.max_failures)
            yield batch


def note_failures(found: Iterable[str], known: list[str], limit: int) -> None:
    """Add to `known` what could not be decoded for the first time: a clip that fails in every epoch is one clip.

    Raises:
        DataError: more than `limit` (data.max_failures) are known now.
    """
    known += [text for text in dict.fromkeys(found) if text not in known]
    if len(known) > limit:
        raise DataError(
            f"{len(known)} clips could not be decoded, more than data.max_failures ({limit}). The last: {known[-1]}"
        )


def make_loader(
    dataset: Dataset[Batch], batches: Iterable[list[Any]], workers: int, join: Callable[[list[Batch]], Batch]
) -> Iterator[Batch]:
    """Batches of the given keys, in their order; workers use one thread each and leave signals to the main process.

    Without workers a thread of this process makes the next batch while the last one is used.

    Raises:
        DataError: a worker process died.
        AsgmError: what `dataset` raised, as it was raised.
    """
    import torchvision.transforms.v2  # noqa: F401 - here once, and not again in each of the workers

    loader: DataLoader[Any] = DataLoader(
        _Guarded(dataset),
        batch_sampler=_Batches(list(batches)),
        collate_fn=partial(_join_or_error, join),
        num_workers=workers,
        worker_init_fn=_quiet_worker if workers else None,
        # Without one of its own the loader draws from torch's global state, which drives dropout: a run that is resumed
        # within an epoch would then go on with other draws.
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=2 if workers else None,
    )
    try:
        for batch in loader if workers else one_ahead(iter(loader)):
            if isinstance(batch, AsgmError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" in str(error) and ("exited" in str(error) or "killed" in str(error)):
            raise DataError(
                f"A process that decodes clips died: {str(error).splitlines()[0]} Often memory was short: lower "
                "data.workers, or set it to 0."
            ) from None
        raise


def one_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each made in another thread while the one before it is used.

    Decoding and torch's operations let the two run side by side. What a batch raises is raised in its place.
    """
    # The number of threads is that thread's own: the training step keeps its.
    with ThreadPoolExecutor(1, "batches", torch.set_num_threads, (1,)) as thread:
        waiting = thread.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = thread.submit(next, batches, None)
            yield batch


@dataclass
class _Guarded(Dataset[Any]):
    """Hands errors over as values: a DataLoader would wrap those of its workers in a traceback."""

    dataset: Dataset[Batch]

    def __getitem__(self, key: Any) -> Batch | AsgmError:
        try:
            return self.dataset[key]
        except AsgmError as error:
            return error


def _join_or_error(join: Callable[[list[Batch]], Batch], samples: list[Any]) -> Batch | AsgmError:
    return next((sample for sample in samples if isinstance(sample, AsgmError)), None) or join(samples)


class _Batches:
    """A batch sampler of lists known beforehand."""

    def __init__(self, batches: list[list[Any]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.batches)


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)
    # Job schedulers signal whole process groups; workers end when the main process, having saved, lets them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def measure_loudness(reader: ClipReader, rows: list[Row], clips: int = 200) -> Loudness:
    """Mean and standard deviation of log-mel values over the first `clips` rows whose sound can be read.

    Raises:
        DataError: none of the rows has sound, or all of it is silence.
    """
    values: list[Tensor] = []
    for row in rows:
        if row.audio and len(values) < clips:
            # A broken file is named when training comes to it.
            with suppress(MediaError):
                values.append(reader.log_mel(reader.moment(row, 0)).flatten())
    if not values:
        raise DataError("No training clip has sound. Set model.modality to video, or prepare data with sound.")
    std, mean = torch.std_mean(torch.cat(values))
    if not float(std) > 0:
        raise DataError("The training clips' sound is silence. Set model.modality to video.")
    return Loudness(float(mean), float(std))
