"""What all tasks' batches are made with: joining, replacements, workers, errors in their place."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asgmcli.data.loader import Draw, collate, first_decodable, make_loader, map_tensors, one_ahead
from asgmcli.data.manifest import ManifestRow
from asgmcli.errors import DataError, MediaError


@dataclass(frozen=True)
class Inside:
    wave: Tensor


@dataclass(frozen=True)
class Sample:
    """A task's sample; of a batch `frames` is [B, ...]."""

    ids: list[str]
    frames: Tensor
    number: Any = 0
    sound: Tensor | None = None
    inside: Inside | None = None


def test_samples_join_field_by_field() -> None:
    one = Sample(["a"], torch.tensor([1, 2], dtype=torch.uint8), 7, inside=Inside(torch.tensor(0.5)))
    other = Sample(["b", "c"], torch.tensor([3, 4], dtype=torch.uint8), 9, inside=Inside(torch.tensor(1.5)))
    batch = collate([one, other])
    assert isinstance(batch, Sample)
    assert batch.ids == ["a", "b", "c"]
    assert (batch.frames.tolist(), batch.frames.dtype) == ([[1, 2], [3, 4]], torch.uint8)
    assert (batch.number.tolist(), batch.number.dtype) == ([7, 9], torch.int64)
    assert batch.sound is None
    assert batch.inside is not None
    assert batch.inside.wave.tolist() == [0.5, 1.5]
    assert one.ids == ["a"]  # as it was


def test_what_cannot_be_joined_is_named() -> None:
    with pytest.raises(TypeError, match="number: samples hold str"):
        collate([Sample(["a"], torch.zeros(1), "x")])
    with pytest.raises(TypeError, match="sound: samples hold NoneType"):
        collate([Sample(["a"], torch.zeros(1)), Sample(["b"], torch.zeros(1), sound=torch.zeros(1))])


def test_tensors_are_changed_wherever_they_are() -> None:
    batch = Sample(["a"], torch.ones(2), 3, None, Inside(torch.ones(1)))
    changed = map_tensors(batch, lambda tensor: 2 * tensor)
    assert changed.frames.tolist() == [2, 2]
    assert changed.inside is not None
    assert changed.inside.wave.tolist() == [2]
    assert (changed.ids, changed.number, changed.sound) == (["a"], 3, None)
    assert batch.frames.tolist() == [1, 1]


class _Numbers(Dataset[Sample]):
    def __getitem__(self, number: int) -> Sample:
        if number == 3:
            raise MediaError("three is broken")
        return Sample([str(number)], torch.tensor(number), inside=Inside(torch.tensor(-number)))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_keep_their_order_and_an_error_its_place(workers: int) -> None:
    found = make_loader(_Numbers(), [[1, 0], [2], [3]], workers, collate)
    assert [next(found).ids, next(found).ids] == [["1", "0"], ["2"]]
    with pytest.raises(MediaError, match="three is broken") as caught:
        next(found)
    assert "Traceback" not in caught.value.message


def test_a_gpus_batches_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """All their tensors: a DataLoader looks into no dataclass by itself."""
    pinned: list[int] = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(int(tensor.sum()))
        return tensor

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_: torch.device("cuda"))
    monkeypatch.setattr(Tensor, "pin_memory", pin)
    (batch,) = make_loader(_Numbers(), [[1, 2]], 0, collate)
    assert batch.ids == ["1", "2"]
    assert sorted(pinned) == [-3, 0, 3]


def rows_of(count: int) -> list[ManifestRow]:
    return [ManifestRow(f"clip{i}", f"clip{i}.mp4", "", "train", 1.0, 8.0, 8, 16, 16, "", "") for i in range(count)]


def test_a_clip_that_fails_is_replaced_alike_by_draws_of_its_own() -> None:
    rows = rows_of(6)

    def sample(draw: Draw) -> tuple[str, int, float, list[str]]:
        if draw.number < 5:
            raise MediaError(f"{draw.row.id} is broken")
        return draw.row.id, draw.number, float(draw.rng.random()), list(draw.failures)

    found = first_decodable(rows, 0, 1, ("labeled", 2, 0), sample)
    assert found == first_decodable(rows, 0, 1, ("labeled", 2, 0), sample)
    name, number, uniform, failures = found
    assert (name, number) == ("clip5", 5)
    assert failures[0] == "clip0 is broken"
    assert all(text in {f"clip{i} is broken" for i in range(5)} for text in failures)
    straight = first_decodable(rows, 5, 1, ("labeled", 2, 0), sample)
    assert straight[3] == []
    assert straight[2] != uniform  # the attempt is part of the draw
    tried: list[int] = []

    def never(draw: Draw) -> None:
        tried.append(draw.number)
        raise MediaError(f"attempt {len(tried)}")

    with pytest.raises(DataError, match="20 clips in a row could not be decoded, the last: attempt 20"):
        first_decodable(rows, 0, 1, ("labeled", 2, 0), never)
    assert len(set(tried)) > 2


class _Killed(Dataset[Sample]):
    def __getitem__(self, number: int) -> Sample:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_killed_worker_is_a_clear_line() -> None:
    with pytest.raises(DataError, match=r"died.*data\.workers"):
        list(make_loader(_Killed(), [[0]], 1, collate))


class _Process(Dataset[Sample]):
    def __getitem__(self, number: int) -> Sample:
        for asked in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), asked)
        return Sample(["a"], torch.tensor(torch.get_num_threads()))


def test_workers_outlive_signals_to_the_group_and_use_one_thread() -> None:
    assert [batch.frames.tolist() for batch in make_loader(_Process(), [[0], [1]], 1, collate)] == [[1], [1]]


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
