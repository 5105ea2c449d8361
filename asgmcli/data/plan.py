"""Which clips an epoch's batches hold: pure arithmetic on (seed, epoch), the same whatever reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from asgmcli.data.split import hashed

Stream = Literal["labeled", "unlabeled"]
T = TypeVar("T")


@dataclass(frozen=True)
class SampleKey:
    """One draw of one clip: `number` counts in its stream's list, `occurrence` within the epoch."""

    stream: Stream
    number: int
    epoch: int
    occurrence: int


def generator(seed: int, *names: object) -> np.random.Generator:
    """A numpy generator that depends on `seed` and `names` alone."""
    return np.random.default_rng(hashed(seed, ":".join(str(name) for name in names)))


@dataclass(frozen=True)
class RankShare:
    """One of several processes that read one plan: a slice of every batch, and of a list of batches."""

    rank: int = 0
    ranks: int = 1

    def part(self, keys: Sequence[T]) -> Sequence[T]:
        """This process's contiguous part of a batch whose length is a multiple of `ranks`."""
        size = len(keys) // self.ranks
        return keys[self.rank * size : (self.rank + 1) * size]

    def deal(self, batches: Sequence[T]) -> Sequence[T]:
        """This process's batches of an evaluation: a run of whole ones, as many as another's or one more."""
        return batches[self.rank * len(batches) // self.ranks : (self.rank + 1) * len(batches) // self.ranks]


@dataclass(frozen=True)
class Plan:
    """Paired batches of labelled and unlabelled clips.

    An epoch is as long as it takes to see every clip of both lists. The shorter list repeats, and a last batch is
    filled from the start of another shuffle. Without unlabelled clips an epoch sees the labelled list once.

    Args:
        labeled: clips in the labelled list.
        unlabeled: clips in the unlabelled list.
        batch: labelled clips a step.
        ratio: unlabelled clips a labelled one.
        seed: of all draws.
        supervised_epochs: first epochs, whose batches leave the unlabelled clips out.
        share: this process's part of each batch; counts and draws are those of the whole.
    """

    labeled: int
    unlabeled: int
    batch: int
    ratio: int
    seed: int
    supervised_epochs: int = 0
    share: RankShare = RankShare()

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        per_step = self.batch * self.ratio
        labeled = -(-self.labeled // self.batch)
        return max(labeled, -(-self.unlabeled // per_step)) if per_step else labeled

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[SampleKey]]:
        """The keys of each step of `epoch`, from step `start` on."""
        labeled = self._keys("labeled", self.labeled, self.steps * self.batch, epoch)
        per_step = self.batch * self.ratio if self.unlabeled and epoch >= self.supervised_epochs else 0
        unlabeled = self._keys("unlabeled", self.unlabeled, self.steps * per_step, epoch)
        for step in range(start, self.steps):
            streams = (
                labeled[step * self.batch : (step + 1) * self.batch],
                unlabeled[step * per_step : (step + 1) * per_step],
            )
            yield [key for stream in streams for key in self.share.part(stream)]

    def _keys(self, stream: Stream, clips: int, draws: int, epoch: int) -> list[SampleKey]:
        passes = -(-draws // clips) if clips else 0
        keys: list[SampleKey] = []
        for occurrence in range(passes):
            order = generator(self.seed, "order", stream, epoch, occurrence).permutation(clips)
            keys += [SampleKey(stream, int(number), epoch, occurrence) for number in order]
        return keys[:draws]
