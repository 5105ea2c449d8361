"""Views of real clips: those that are trained on, those that are judged, and what becomes of broken files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asgmcli.data import augment
from asgmcli.data.loader import collate, make_loader
from asgmcli.data.manifest import Manifest, read_manifest
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.data.plan import Plan, SampleKey, Stream
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError, MediaError
from asgmcli.media.audio import log_mel, read_audio
from asgmcli.media.clips import uniform_starts
from asgmcli.media.video import read_clip
from asgmcli.recipe.clips import Audio, Augment, Clip
from asgmcli.tasks.recognition.batch import Labeled
from asgmcli.tasks.recognition.views import EvaluationViews, TrainLoader, TrainViews

CLIP = Clip(frames=4, stride=2, size=24, short_side=(24, 28))
AUDIO = Audio(seconds=0.64, mels=16)
AUGMENT = Augment(frequency_mask=4, time_mask=8)


def views_of(manifest: Manifest, *, seed: int = 0, keep: bool = True, **changes: Any) -> TrainViews:
    rows = manifest.of_split("train")
    labels = {row.id: manifest.label_index(row) for row in manifest.rows}
    reader = ClipReader(manifest, CLIP, AUDIO, keep=keep)
    settings: dict[str, Any] = {"mel_statistics": LogMelStatistics(-5.0, 4.0), "guide_seconds": 0.5, **changes}
    return TrainViews(reader, rows[:10], rows[10:], labels, CLIP, AUGMENT, seed=seed, **settings)


def loader_of(views: TrainViews, workers: int = 0, max_failures: int = 100, supervised_epochs: int = 0) -> TrainLoader:
    streams = {
        "labeled": Stream(len(views.labeled), 2),
        "unlabeled": Stream(len(views.unlabeled), 6, first_epoch=supervised_epochs),
    }
    plan = Plan(streams, views.seed)
    return TrainLoader(views, plan, workers, max_failures)


@pytest.fixture(scope="module")
def manifest(demo: Path) -> Manifest:
    return read_manifest(demo)


@pytest.fixture
def broken(own_demo: Path) -> Callable[[int], Manifest]:
    """A copy of the data set, some of whose training clips are cut short."""

    def make(count: int) -> Manifest:
        found = read_manifest(own_demo)
        for row in found.of_split("train")[-count:]:
            found.resolve(row).write_bytes(found.resolve(row).read_bytes()[:100])
        return found

    return make


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if is_dataclass(one):
        return type(one) is type(other) and all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(one == other)


def test_the_views_of_a_clip(manifest: Manifest) -> None:
    views = views_of(manifest)
    labeled = views[SampleKey("labeled", 3, 0, 0)]
    assert labeled.video.shape == (4, 3, 24, 24)
    assert labeled.video.dtype == torch.uint8
    assert labeled.audio.shape == (64, 16)
    assert isinstance(labeled, Labeled)
    assert labeled.ids == [views.labeled[3].id]
    assert labeled.label.tolist() == views.labels[labeled.ids[0]]
    unlabeled = views[SampleKey("unlabeled", 5, 0, 0)]
    assert unlabeled.weak.shape == unlabeled.strong.shape == (4, 3, 24, 24)
    assert not torch.equal(unlabeled.weak, unlabeled.strong)
    assert unlabeled.audio.shape == unlabeled.strong_audio.shape == (64, 16)
    changed = unlabeled.audio != unlabeled.strong_audio
    assert bool((unlabeled.strong_audio[changed] == 0).all())  # masked with the mean of normalised sound
    assert unlabeled.wave.shape == (8000,)
    assert unlabeled.dropped.shape == (3,)
    assert int(unlabeled.dropped.sum()) in (0, 1)
    assert len(unlabeled.warp) == 4
    assert unlabeled.number == 5


def test_a_labelled_clips_view_may_be_a_strong_one(manifest: Manifest) -> None:
    key = SampleKey("labeled", 3, 0, 0)
    weak = views_of(manifest)[key]
    settings = views_of(manifest).augment.model_copy(
        update={"labeled": "strong", "operations": 0, "channel_dropout": 1.0}
    )
    strong = replace(views_of(manifest), augment=settings)[key]
    # The same crop, all of whose clips lose a channel; of the sound a band and a span.
    assert torch.equal(strong.video, weak.video)
    assert weak.dropped is None
    assert int(strong.dropped.sum()) == 1
    masked = strong.audio != weak.audio
    assert bool(masked.any())
    assert bool((strong.audio[masked] == 0).all())
    changed = replace(views_of(manifest), augment=settings.model_copy(update={"operations": 2}))[key]
    assert not torch.equal(changed.video, weak.video)


def test_sound_and_guide_only_where_they_are_used(manifest: Manifest) -> None:
    views = views_of(manifest, mel_statistics=None, guide_seconds=None)
    assert views[SampleKey("labeled", 0, 0, 0)].audio is None
    sample = views[SampleKey("unlabeled", 0, 0, 0)]
    assert (sample.audio, sample.strong_audio, sample.wave, sample.maps) == (None, None, None, None)


def test_a_sample_is_a_function_of_seed_epoch_occurrence_and_id(manifest: Manifest) -> None:
    views, others = views_of(manifest), views_of(manifest, seed=1)
    key = SampleKey("unlabeled", 2, 4, 1)
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = views[key]
    views[SampleKey("labeled", 1, 0, 0)]
    assert same(views[key], first)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    for other in (SampleKey("unlabeled", 2, 5, 1), SampleKey("unlabeled", 2, 4, 0), SampleKey("unlabeled", 3, 4, 1)):
        assert not torch.equal(views[other].strong, first.strong)
    assert not torch.equal(others[key].strong, first.strong)
    # The clip's place in the list is nothing to its draws.
    moved = views_of(manifest)
    moved.unlabeled = moved.unlabeled[2:]
    assert torch.equal(moved[SampleKey("unlabeled", 0, 4, 1)].strong, first.strong)


def test_clips_in_memory_are_those_on_disk(manifest: Manifest) -> None:
    kept, read = views_of(manifest), views_of(manifest, keep=False)
    for number in range(6):
        key = SampleKey("unlabeled", number, 0, 0)
        one, other = kept[key], read[key]
        assert torch.equal(one.weak, other.weak)
        torch.testing.assert_close(one.wave, other.wave, atol=1e-4, rtol=0)


@pytest.mark.long
def test_batches_are_the_same_with_and_without_workers_and_from_the_middle(manifest: Manifest) -> None:
    alone = list(loader_of(views_of(manifest)).epoch(1))
    assert len(alone) == 5  # 10 labelled clips, 2 a step
    for batch in alone:
        assert batch.labeled.video.shape == (2, 4, 3, 24, 24)
        assert batch.unlabeled.weak.shape == (6, 4, 3, 24, 24)
        assert batch.labeled.label.dtype == batch.unlabeled.label.dtype == batch.unlabeled.number.dtype == torch.int64
        assert batch.ids == batch.labeled.ids + batch.unlabeled.ids
    shared = list(loader_of(views_of(manifest), workers=2).epoch(1))
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))
    tail = list(loader_of(views_of(manifest)).epoch(1, start=2))
    assert all(same(one, other) for one, other in zip(alone[2:], tail, strict=True))


def test_loading_draws_nothing_from_the_global_state(manifest: Manifest) -> None:
    before = torch.get_rng_state()
    next(loader_of(views_of(manifest)).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_supervised_epochs_have_no_unlabelled_clips(manifest: Manifest) -> None:
    loader = loader_of(views_of(manifest), supervised_epochs=1)
    first = list(loader.epoch(0))
    assert all(batch.unlabeled is None for batch in first)
    assert first[0].ids == first[0].labeled.ids
    assert next(loader.epoch(1)).unlabeled is not None


def test_a_broken_file_is_named_counted_and_replaced_alike(broken: Callable[[int], Manifest]) -> None:
    manifest = broken(2)
    gone = {row.id for row in manifest.of_split("train")[-2:]}
    loader = loader_of(views_of(manifest, keep=False))
    batches = list(loader.epoch(0))
    ids = [name for batch in batches for name in batch.unlabeled.ids]
    assert not gone & set(ids)
    assert len(ids) == 30
    named = loader.views.failures
    assert all(batch.failures == batch.unlabeled.failures for batch in batches)
    assert {name for name in gone if any(name in text for text in named)} == gone
    assert named == list(dict.fromkeys(text for batch in batches for text in batch.unlabeled.failures))
    list(loader.epoch(1))
    assert len(named) == 2  # however often they are drawn
    for batch in batches:
        numbers = batch.unlabeled.number.tolist()
        assert [loader.views.unlabeled[number].id for number in numbers] == batch.unlabeled.ids
    again = loader_of(views_of(manifest, keep=False), workers=1)
    assert all(same(one, other) for one, other in zip(batches, again.epoch(0), strict=True))
    assert again.views.failures == named


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_broken_files_stop_the_run(broken: Callable[[int], Manifest], workers: int) -> None:
    loader = loader_of(views_of(broken(3), keep=False), workers=workers, max_failures=1)
    with pytest.raises(DataError, match=r"more than data\.max_failures \(1\)"):
        list(loader.epoch(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_broken_files_is_one_clear_line(broken: Callable[[int], Manifest], workers: int) -> None:
    loader = loader_of(views_of(broken(20), keep=False), workers=workers)
    with pytest.raises(DataError, match="20 clips in a row") as caught:
        list(loader.epoch(0))
    assert "Traceback" not in caught.value.message


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_reads_every_view_and_replaces_nothing(manifest: Manifest, workers: int) -> None:
    reader = ClipReader(manifest, CLIP, AUDIO)
    rows = manifest.of_split("test")
    labels = {row.id: manifest.label_index(row) for row in rows}
    views = EvaluationViews(reader, rows, labels, CLIP, LogMelStatistics(-5.0, 4.0), clips=2, crops=3)
    batch = next(make_loader(views, [[0, 1, 2]], workers, collate))
    assert batch.video.shape == (3, 6, 4, 3, 24, 24)
    assert batch.audio.shape == (3, 6, 64, 16)
    assert batch.label.tolist() == [labels[row.id] for row in rows[:3]]
    # Square frames: the three crops of a clip are one, with one sound; two clips of a video differ.
    assert torch.equal(batch.video[:, 0], batch.video[:, 2])
    assert torch.equal(batch.audio[:, 0], batch.audio[:, 2])
    assert not torch.equal(batch.video[:, 0], batch.video[:, 3])
    views.rows = [replace(rows[0], path="clips/gone.mp4")]
    with pytest.raises(MediaError, match=r"gone\.mp4") as caught:
        next(make_loader(views, [[0]], workers, collate))
    assert "Traceback" not in caught.value.message


def test_evaluation_decodes_each_video_once(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """And every clip is that of a reading of its own."""
    row = manifest.of_split("test")[0]
    reader = ClipReader(manifest, CLIP, AUDIO)
    starts = uniform_starts(row.frames, CLIP.frames, CLIP.stride, 5)
    apart = [reader.frames(reader.moment(row, start)) for start in starts]
    assert len(set(starts)) == 5
    asked: list[list[int]] = []

    def counted(path: Path, indices: list[int], **options: Any) -> np.ndarray:
        asked.append(indices)
        return read_clip(path, indices, **options)

    monkeypatch.setattr("asgmcli.data.reader.read_clip", counted)
    video = EvaluationViews(reader, [row], {row.id: 0}, CLIP, None, clips=5, crops=3)[0].video
    assert len(asked) == 1
    assert len(set(asked[0])) == len(asked[0])
    expected = torch.cat([augment.crops(frames, CLIP.size, 3) for frames in apart])
    assert torch.equal(video, expected)


def test_evaluation_reads_overlapping_sounds_at_once(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each is that of a reading of its own; spans that lie apart are read apart."""
    row = manifest.of_split("test")[0]
    reads: list[float] = []

    def counted(path: Path, rate: int, start: float, seconds: float) -> np.ndarray:
        reads.append(seconds)
        return read_audio(path, rate, start, seconds)

    monkeypatch.setattr("asgmcli.data.reader.read_audio", counted)
    for seconds, most in ((2.0, 1), (0.1, 5)):
        reader = ClipReader(manifest, CLIP, AUDIO.model_copy(update={"seconds": seconds}))
        moments = [reader.moment(row, start) for start in uniform_starts(row.frames, CLIP.frames, CLIP.stride, 5)]
        apart = torch.stack([reader.log_mel(moment) for moment in moments])
        reads.clear()
        assert torch.equal(reader.log_mels(moments), apart)
        assert len(reads) == most
    silent = [replace(moment, row=replace(row, audio="", fps=0.0)) for moment in moments]
    assert torch.equal(reader.log_mels(silent), torch.stack([reader.log_mel(moment) for moment in silent]))


def test_a_clip_of_a_fixed_rate_has_the_same_seconds_of_picture_and_sound_in_every_file(manifest: Manifest) -> None:
    row = manifest.of_split("test")[0]  # 8 frames a second
    reader = ClipReader(manifest, CLIP.model_copy(update={"fps": 16.0}), AUDIO)
    moment = reader.random_moment(row, 0.0)
    assert moment.indices == [0, 1, 2, 3]  # 4 frames of 2 at 16 a second: half a second, 4 frames of this file
    faster = reader.random_moment(replace(row, fps=16.0), 0.0)
    assert faster.indices == [0, 2, 4, 7]
    middles = [reader.wave_start(found, 0.5) + 0.25 for found in (moment, faster)]
    assert middles == [0.25, 0.25]
    last = reader.random_moment(row, 1 - 2**-53).indices
    assert last == [row.frames - 4 + place for place in range(4)]
    spread = reader.spread_moments(row, 4, inclusive=False)
    assert [found.indices[0] for found in spread] == [-(-(row.frames - 4) * place // 4) for place in range(4)]
    # A file that does not tell its rate is read by its own frames.
    assert reader.random_moment(replace(row, fps=0.0), 0.0).indices == [0, 2, 4, 6]


def test_the_teachers_view_is_not_mirrored_where_the_release_does_not(manifest: Manifest) -> None:
    flips = []
    for share in (None, 0.0, 1.0):
        views = views_of(manifest)
        views.augment = AUGMENT.model_copy(update={"weak_flip": share, "flip": 1.0})
        flips.append([views[SampleKey("unlabeled", number, 0, 0)] for number in range(3)])
    for given, never, always in zip(*flips, strict=True):
        assert torch.equal(given.weak, always.weak)
        assert torch.equal(never.weak.flip(-1), always.weak)
        assert torch.equal(never.strong, always.strong)


def test_the_localizer_does_not_hear_what_the_student_does_not(manifest: Manifest) -> None:
    """The masked band in Hz and the masked span in seconds of the localizer's own sound, which begins elsewhere."""
    views = views_of(manifest, guide_masked=True)
    for number in range(8):
        sample = views[SampleKey("unlabeled", number, 0, 0)]
        low, high, begin, end = sample.wave_masks.tolist()
        masked = sample.strong_audio != sample.audio
        bands, steps = masked.all(0).nonzero().flatten().tolist(), masked.all(1).nonzero().flatten().tolist()
        mels = [2595 / math.log(10) * math.log(1 + hertz / 700) for hertz in (20, low, high, 8000)]
        width = (mels[3] - mels[0]) / 17
        edges = [(mel - mels[0]) / width - 0.5 for mel in mels[1:3]]
        assert (bands == []) == (low == high)
        if bands:
            assert edges == pytest.approx([bands[0], bands[-1] + 1], abs=1e-3)
        assert end - begin == pytest.approx(0.01 * len(steps), abs=1e-5)
        row = next(row for row in views.unlabeled if row.id == sample.ids[0])
        assert -0.64 <= begin <= end <= row.duration + 0.64
    assert views_of(manifest)[SampleKey("unlabeled", 0, 0, 0)].wave_masks is None


def test_a_clip_without_sound_is_silence_and_one_without_rate_an_error(manifest: Manifest) -> None:
    reader = ClipReader(manifest, CLIP, AUDIO)
    row = manifest.rows[0]
    assert not reader.wave(reader.moment(replace(row, audio=""), 0), 0.5).any()
    with pytest.raises(MediaError, match="no frame rate"):
        reader.wave(reader.moment(replace(row, fps=0.0), 0), 0.5)


def test_sound_is_moved_into_the_file_where_the_recipe_asks(manifest: Manifest) -> None:
    row = manifest.of_split("train")[0]
    outside, inside = (
        ClipReader(manifest, CLIP, AUDIO.model_copy(update={"seconds": 1.28, "inside": flag}), keep=True)
        for flag in (False, True)
    )
    first = inside.moment(row, 0)
    assert outside.wave_start(first, 1.28) < 0
    wave = outside.wave(first, 1.28, inside=True)
    assert torch.equal(inside.log_mel(first), log_mel(wave, rate=16_000, mels=16))
    assert not torch.equal(inside.log_mel(first), outside.log_mel(first))
    middle = inside.moment(row, 6)
    assert outside.wave_start(middle, 1.28) > 0
    assert torch.equal(inside.log_mel(middle), outside.log_mel(middle))
    together = inside.log_mels([first, middle])
    assert torch.equal(together, torch.stack([inside.log_mel(first), inside.log_mel(middle)]))
    from_disk = ClipReader(manifest, CLIP, inside.audio)
    torch.testing.assert_close(from_disk.log_mels([first, middle]), together, atol=1e-4, rtol=1e-4)
