from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asgmcli.train.batches import move, watched


@dataclass(frozen=True)
class Sound:
    wave: Tensor


@dataclass(frozen=True)
class Batch:
    ids: list[str]
    video: Tensor
    sound: Sound | None


def test_a_batch_moves_with_all_its_tensors() -> None:
    batch = Batch(["a"], torch.ones(2, dtype=torch.uint8), Sound(torch.zeros(3)))
    moved = move(batch, torch.device("meta"))
    assert isinstance(moved, Batch)
    assert moved.sound is not None
    assert {moved.video.device.type, moved.sound.wave.device.type} == {"meta"}
    assert (moved.video.dtype, moved.ids) == (torch.uint8, ["a"])
    assert batch.video.device.type == "cpu"
    assert move(Batch([], torch.ones(2), None), torch.device("meta")).sound is None


def test_clips_are_told_once_their_batch_is_used() -> None:
    told: list[int] = []
    batches = [Batch(["a", "b"], torch.ones(2), None), Batch(["c"], torch.ones(1), None)]
    for number, batch in enumerate(watched(batches, told.append)):
        assert batch is batches[number]
        assert told == [2][:number]
    assert told == [2, 1]
