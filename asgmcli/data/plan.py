"""Plan the clips of an epoch's batches: pure arithmetic on (seed, epoch), independent of the reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np

from asgmcli.data.split import hashed

T = TypeVar("T")
Partial = Literal["fill", "drop", "keep"]


@dataclass(frozen=True)
class SampleKey:
    """One draw of one clip: `number` counts in its stream's list, `occurrence` within the epoch."""

    stream: str
    number: int
    epoch: int
    occurrence: int


def generator(seed: int, *names: object) -> np.random.Generator:
    """Return a numpy generator that depends on `seed` and `names` alone."""
    return np.random.default_rng(hashed(seed, ":".join(str(name) for name in names)))


def next_clips(clips: Sequence[str]) -> dict[str, str]:
    """Return for every clip another one: the next in a drawn order; nothing where there is one clip alone."""
    if len(clips) < 2:
        return {}
    order = [clips[number] for number in generator(0, "exchanged sounds").permutation(len(clips))]
    return dict(zip(order, [*order[1:], order[0]], strict=True))


def next_windows(clips: Sequence[str]) -> list[int]:
    """Return for every window, told by its clip, the place of another clip's: of `next_clips`, as many windows in.

    A clip with fewer windows begins again. Nothing where there is one clip alone.
    """
    places: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        places.setdefault(clip, []).append(place)
    others = next_clips(list(places))
    found = [0] * len(clips)
    for clip, other in others.items():
        for number, place in enumerate(places[clip]):
            found[place] = places[other][number % len(places[other])]
    return found if others else []


@dataclass(frozen=True)
class RankShare:
    """One of several processes that read one plan: a slice of every batch, and of a list of batches."""

    rank: int = 0
    ranks: int = 1

    def part(self, keys: Sequence[T]) -> Sequence[T]:
        """Return this process's contiguous part of a batch; parts differ by at most one sample."""
        return keys[self.rank * len(keys) // self.ranks : (self.rank + 1) * len(keys) // self.ranks]

    def deal(self, batches: Sequence[T]) -> Sequence[T]:
        """Return this process's contiguous share of an evaluation's batches; shares differ by at most one batch."""
        return batches[self.rank * len(batches) // self.ranks : (self.rank + 1) * len(batches) // self.ranks]


class HasPlan(Protocol):
    """Data that follow a plan."""

    @property
    def plan(self) -> Plan:
        """Return which clips every step has."""


class Planned:
    """The part of a run's data that all have whose steps follow a plan."""

    @property
    def steps(self: HasPlan) -> int:
        """Return the steps an epoch."""
        return self.plan.steps


@dataclass(frozen=True)
class Stream:
    """A list of clips that every step takes some of.

    Args:
        clips: in the list; 0 leaves the stream out.
        batch: clips a step; 0 leaves the stream out.
        first_epoch: whose batches hold clips of the stream; those before leave it out.
        seed_name: what its shuffles are drawn by together with the plan's seed; the stream's name where empty.
        follows: the stream does not stretch an epoch: its draws go on from one to the next, list after list.
        stretches: an epoch is at least as long as it takes to see every clip; else each epoch begins another shuffle.
    """

    clips: int
    batch: int
    first_epoch: int = 0
    seed_name: str = ""
    follows: bool = False
    stretches: bool = True

    @property
    def steps(self) -> int:
        """Count the steps that see every clip."""
        return -(-self.clips // self.batch) if self.batch else 0


@dataclass(frozen=True)
class Plan:
    """Batches that hold clips of several streams, in the order in which these are named.

    An epoch is as long as it takes to see every clip of every stream, also of those that its batches leave out, but not
    of those that follow or do not stretch it. A shorter list repeats.

    Args:
        streams: by name; a sample's key has it.
        seed: of all draws.
        share: this process's part of each batch; counts and draws are those of the whole.
        partial: of the longest list's last clips, where they make no whole batch: `fill` fills it from the start of
            another shuffle, `drop` leaves them out of this epoch, `keep` makes a smaller batch of them. A smaller one
            is filled up to a sample a process.
    """

    streams: Mapping[str, Stream]
    seed: int
    share: RankShare = RankShare()
    partial: Partial = "fill"

    @property
    def steps(self) -> int:
        """Return the steps an epoch."""
        leading = [stream for stream in self.streams.values() if stream.stretches and not stream.follows]
        if self.partial == "drop":
            return max((stream.clips // stream.batch for stream in leading if stream.batch), default=0)
        return max((stream.steps for stream in leading), default=0)

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[SampleKey]]:
        """Yield the keys of each step of `epoch`, from step `start` on."""
        drawn = [
            (self._keys(name, stream, epoch), stream.batch)
            for name, stream in self.streams.items()
            if stream.steps and epoch >= stream.first_epoch
        ]
        for step in range(start, self.steps):
            parts = [self.share.part(keys[step * batch : (step + 1) * batch]) for keys, batch in drawn]
            yield [key for part in parts for key in part]

    def numbers(self, epoch: int, start: int = 0) -> Iterator[list[int]]:
        """Yield the clips' numbers of each step, see `batches`."""
        return ([key.number for key in keys] for keys in self.batches(epoch, start))

    def _keys(self, name: str, stream: Stream, epoch: int) -> list[SampleKey]:
        """Return the stream's keys of a whole epoch: one shuffle after another."""
        draws = self.steps * stream.batch
        if stream.follows:
            return self._following(name, stream, epoch, draws)
        if self.partial == "keep" and stream.steps == self.steps:
            draws = max(stream.clips, (self.steps - 1) * stream.batch + self.share.ranks)
        keys: list[SampleKey] = []
        for occurrence in range(-(-draws // stream.clips)):
            names = ("order", stream.seed_name or name, epoch, occurrence)
            order = generator(self.seed, *names).permutation(stream.clips)
            keys += [SampleKey(name, int(number), epoch, occurrence) for number in order]
        return keys[:draws]

    def _following(self, name: str, stream: Stream, epoch: int, draws: int) -> list[SampleKey]:
        """Return the keys of an epoch of a stream whose shuffles go on where the last epoch ended."""
        first = (epoch - stream.first_epoch) * draws
        keys: list[SampleKey] = []
        for occurrence in range(first // stream.clips, -(-(first + draws) // stream.clips)):
            order = generator(self.seed, "follow", stream.seed_name or name, occurrence).permutation(stream.clips)
            keys += [SampleKey(name, int(number), epoch, occurrence) for number in order]
        skipped = first % stream.clips
        return keys[skipped : skipped + draws]
