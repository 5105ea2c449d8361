from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asgmcli.data import augment
from asgmcli.data.loader import (
    Batch,
    EvaluationViews,
    Loudness,
    TrainLoader,
    TrainViews,
    collate,
    make_loader,
    measure_loudness,
    one_ahead,
)
from asgmcli.data.manifest import Manifest, Row, read_manifest
from asgmcli.data.plan import Plan, SampleKey
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError, MediaError
from asgmcli.media.clips import uniform_starts
from asgmcli.media.video import read_clip
from asgmcli.recipe.clips import Audio, Augment, Clip

CLIP = Clip(frames=4, stride=2, size=24, short_side=(24, 28))
AUDIO = Audio(seconds=0.64, mels=16)
AUGMENT = Augment(frequency_mask=4, time_mask=8)


def views_of(manifest: Manifest, *, seed: int = 0, keep: bool = True, **changes: Any) -> TrainViews:
    rows = manifest.of_split("train")
    labels = {row.id: manifest.label_index(row) for row in manifest.rows}
    reader = ClipReader(manifest, CLIP, AUDIO, keep=keep)
    settings: dict[str, Any] = {"loudness": Loudness(-5.0, 4.0), "guide_seconds": 0.5, **changes}
    return TrainViews(reader, rows[:10], rows[10:], labels, CLIP, AUGMENT, seed=seed, **settings)


def loader_of(views: TrainViews, workers: int = 0, max_failures: int = 100, supervised_epochs: int = 0) -> TrainLoader:
    plan = Plan(len(views.labeled), len(views.unlabeled), 2, 3, views.seed, supervised_epochs)
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
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def test_the_views_of_a_clip(manifest: Manifest) -> None:
    views = views_of(manifest)
    labeled = views[SampleKey("labeled", 3, 0, 0)]
    assert labeled["video"].shape == (4, 3, 24, 24)
    assert labeled["video"].dtype == torch.uint8
    assert labeled["audio"].shape == (64, 16)
    assert labeled["id"] == views.labeled[3].id
    assert labeled["label"] == views.labels[labeled["id"]]
    unlabeled = views[SampleKey("unlabeled", 5, 0, 0)]
    assert unlabeled["weak"].shape == unlabeled["strong"].shape == (4, 3, 24, 24)
    assert not torch.equal(unlabeled["weak"], unlabeled["strong"])
    assert unlabeled["audio"].shape == unlabeled["strong_audio"].shape == (64, 16)
    changed = unlabeled["audio"] != unlabeled["strong_audio"]
    assert bool((unlabeled["strong_audio"][changed] == 0).all())  # masked with the mean of normalised sound
    assert unlabeled["wave"].shape == (8000,)
    assert unlabeled["dropped"] in (-1, 0, 1, 2)
    assert len(unlabeled["warp"]) == 4
    assert unlabeled["number"] == 5


def test_sound_and_guide_only_where_they_are_used(manifest: Manifest) -> None:
    views = views_of(manifest, loudness=None, guide_seconds=None)
    assert "audio" not in views[SampleKey("labeled", 0, 0, 0)]
    assert not {"audio", "strong_audio", "wave"} & views[SampleKey("unlabeled", 0, 0, 0)].keys()


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
        assert not torch.equal(views[other]["strong"], first["strong"])
    assert not torch.equal(others[key]["strong"], first["strong"])
    # The clip's place in the list is nothing to its draws.
    moved = views_of(manifest)
    moved.unlabeled = moved.unlabeled[2:]
    assert torch.equal(moved[SampleKey("unlabeled", 0, 4, 1)]["strong"], first["strong"])


def test_clips_in_memory_are_those_on_disk(manifest: Manifest) -> None:
    kept, read = views_of(manifest), views_of(manifest, keep=False)
    for number in range(6):
        key = SampleKey("unlabeled", number, 0, 0)
        one, other = kept[key], read[key]
        assert torch.equal(one["weak"], other["weak"])
        torch.testing.assert_close(one["wave"], other["wave"], atol=1e-4, rtol=0)


def test_batches_are_the_same_with_and_without_workers_and_from_the_middle(manifest: Manifest) -> None:
    alone = list(loader_of(views_of(manifest)).epoch(1))
    assert len(alone) == 5  # 10 labelled clips, 2 a step
    for batch in alone:
        assert batch["labeled"]["video"].shape == (2, 4, 3, 24, 24)
        assert batch["unlabeled"]["weak"].shape == (6, 4, 3, 24, 24)
        assert batch["unlabeled"]["label"].dtype == torch.int64
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
    assert all(batch["unlabeled"] is None for batch in loader.epoch(0))
    assert next(loader.epoch(1))["unlabeled"] is not None


def test_a_broken_file_is_named_counted_and_replaced_alike(broken: Callable[[int], Manifest]) -> None:
    manifest = broken(2)
    gone = {row.id for row in manifest.of_split("train")[-2:]}
    loader = loader_of(views_of(manifest, keep=False))
    batches = list(loader.epoch(0))
    ids = [name for batch in batches for name in batch["unlabeled"]["id"]]
    assert not gone & set(ids)
    assert len(ids) == 30
    named = loader.views.failures
    assert {name for name in gone if any(name in text for text in named)} == gone
    assert named == list(dict.fromkeys(text for batch in batches for text in batch["unlabeled"]["failures"]))
    list(loader.epoch(1))
    assert len(named) == 2  # however often they are drawn
    for batch in batches:
        numbers = batch["unlabeled"]["number"].tolist()
        assert [loader.views.unlabeled[number].id for number in numbers] == batch["unlabeled"]["id"]
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
    views = EvaluationViews(reader, rows, labels, CLIP, Loudness(-5.0, 4.0), clips=2, crops=3)
    batch = next(make_loader(views, [[0, 1, 2]], workers, collate))
    assert batch["video"].shape == (3, 6, 4, 3, 24, 24)
    assert batch["audio"].shape == (3, 6, 64, 16)
    assert batch["label"].tolist() == [labels[row.id] for row in rows[:3]]
    # Square frames: the three crops of a clip are one, with one sound; two clips of a video differ.
    assert torch.equal(batch["video"][:, 0], batch["video"][:, 2])
    assert torch.equal(batch["audio"][:, 0], batch["audio"][:, 2])
    assert not torch.equal(batch["video"][:, 0], batch["video"][:, 3])
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
    video = EvaluationViews(reader, [row], {row.id: 0}, CLIP, None, clips=5, crops=3)[0]["video"]
    assert len(asked) == 1
    assert len(set(asked[0])) == len(asked[0])
    expected = torch.cat([augment.crops(frames, CLIP.size, 3) for frames in apart])
    assert torch.equal(video, expected)


class _Killed(Dataset[Batch]):
    def __getitem__(self, number: int) -> Batch:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


def test_a_killed_worker_is_a_clear_line() -> None:
    with pytest.raises(DataError, match=r"died.*data\.workers"):
        list(make_loader(_Killed(), [[0]], 1, collate))


class _Process(Dataset[Batch]):
    def __getitem__(self, number: int) -> Batch:
        for asked in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), asked)
        return {"threads": torch.get_num_threads()}


def test_workers_outlive_signals_to_the_group_and_use_one_thread() -> None:
    assert [batch["threads"].tolist() for batch in make_loader(_Process(), [[0], [1]], 1, collate)] == [[1], [1]]


def test_loudness_is_that_of_the_clips_that_can_be_read(broken: Callable[[int], Manifest]) -> None:
    manifest = broken(2)
    reader = ClipReader(manifest, CLIP, AUDIO)
    rows = manifest.of_split("train")
    found = measure_loudness(reader, list(reversed(rows)), clips=4)
    sounds = torch.cat([reader.log_mel(reader.moment(row, 0)).flatten() for row in reversed(rows[-6:-2])])
    assert found.mean == pytest.approx(float(sounds.mean()), rel=1e-5)
    assert found.std == pytest.approx(float(sounds.std()), rel=1e-5)
    normal = found.normalise(sounds)
    assert float(normal.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normal.std()) == pytest.approx(0.5, abs=1e-5)


def silent_rows(rows: list[Row]) -> Iterator[Row]:
    return (replace(row, audio="") for row in rows)


def test_data_without_sound_is_told(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ClipReader(manifest, CLIP, AUDIO)
    rows = manifest.of_split("train")[:2]
    with pytest.raises(DataError, match=r"No training clip has sound\. Set model\.modality"):
        measure_loudness(reader, list(silent_rows(rows)))
    monkeypatch.setattr(ClipReader, "wave", lambda *_: torch.zeros(10240))
    with pytest.raises(DataError, match="silence"):
        measure_loudness(reader, rows)


def test_a_clip_without_sound_is_silence_and_one_without_rate_an_error(manifest: Manifest) -> None:
    reader = ClipReader(manifest, CLIP, AUDIO)
    row = manifest.rows[0]
    assert not reader.wave(reader.moment(replace(row, audio=""), 0), 0.5).any()
    with pytest.raises(MediaError, match="no frame rate"):
        reader.wave(reader.moment(replace(row, fps=0.0), 0), 0.5)


def test_batches_are_made_one_ahead_in_another_thread_and_in_their_order() -> None:
    made: list[int] = []
    threads: set[str] = set()
    first_taken, second_made = threading.Event(), threading.Event()

    def batches() -> Iterator[dict[str, Any]]:
        for number in range(4):
            if number == 1:
                first_taken.wait(10)
            threads.add(threading.current_thread().name)
            made.append(number)
            if number == 1:
                second_made.set()
            yield {"number": number}

    found = one_ahead(batches())
    assert next(found)["number"] == 0
    first_taken.set()
    assert second_made.wait(10)  # the second, before it is asked for
    time.sleep(0.05)
    assert made == [0, 1]  # and no third
    assert [batch["number"] for batch in found] == [1, 2, 3]
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_what_a_batch_raises_comes_in_its_place() -> None:
    def batches() -> Iterator[dict[str, Any]]:
        yield {"number": 0}
        raise DataError("the second is broken")

    found = one_ahead(batches())
    assert next(found)["number"] == 0
    with pytest.raises(DataError, match="the second is broken"):
        next(found)
    before = threading.active_count()
    left = one_ahead(iter([{"number": 0}, {"number": 1}, {"number": 2}]))
    next(left)
    left.close()  # type: ignore[attr-defined]  # a training that stops in the middle of an epoch
    assert threading.active_count() == before
