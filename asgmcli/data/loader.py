"""The parts of data loading that all tasks share: replacements of broken clips, joining, worker processes.

A task's batch is a dataclass of tensors [B, ...], lists with one entry a clip, None for what is not used, and
dataclasses of these. A sample is the same without the batch dimension: tensors [...], lists of one entry. Every sample
is a pure function of (seed, epoch, occurrence, clip id). A clip that fails to decode in training is named, counted and
replaced by another of its stream, the same one in every run; past a limit the run stops. In evaluation nothing is
replaced.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asgmcli.data.manifest import ManifestRow
from asgmcli.data.plan import generator
from asgmcli.errors import AsgmError, DataError, MediaError

REPLACEMENTS = 20
T = TypeVar("T")
S = TypeVar("S")
B = TypeVar("B")


@dataclass(frozen=True)
class Draw:
    """A clip that a sample is to be made of.

    Attributes:
        row: of the clip.
        number: its place in the list.
        rng: for all random choices of the sample.
        failures: of those tried before it, why each could not be decoded.
    """

    row: ManifestRow
    number: int
    rng: np.random.Generator
    failures: list[str]


def first_decodable(
    rows: list[ManifestRow], number: int, seed: int, names: tuple[object, ...], sample: Callable[[Draw], T]
) -> T:
    """Return `views` of row `number`, or of its replacement if that cannot be decoded; the draws depend on `names`.

    Raises:
        DataError: 20 clips in a row failed.
    """
    failures: list[str] = []
    for attempt in range(REPLACEMENTS):
        if attempt:
            number = int(generator(seed, "replace", *names, number, attempt).integers(len(rows)))
        row = rows[number]
        try:
            return sample(Draw(row, number, generator(seed, "view", *names, attempt, row.id), failures))
        except MediaError as error:
            failures.append(error.message)
    raise DataError(f"{REPLACEMENTS} clips in a row could not be decoded, the last: {failures[-1]}")


def collate(samples: list[B]) -> B:
    """Join samples to a batch: tensors are stacked, numbers become int64 [B], lists are joined, None stays None.

    Raises:
        TypeError: a field holds something else.
    """
    batch: B = _join("the batch", samples)
    return batch


def _join(name: str, values: list[Any]) -> Any:
    first = values[0]
    if first is None and all(value is None for value in values):
        return None
    if isinstance(first, Tensor):
        return torch.stack(values)
    if isinstance(first, int):
        return torch.tensor(values)
    if isinstance(first, list):
        return [entry for value in values for entry in value]
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        return replace(first, **{name: _join(name, [getattr(value, name) for value in values]) for name in names})
    raise TypeError(f"{name}: samples hold {type(first).__name__}, which cannot be joined")


def map_tensors(batch: B, change: Callable[[Tensor], Tensor]) -> B:
    """Return a batch with each of its tensors changed; all else stays as it is."""
    changed: Any = batch
    if isinstance(batch, Tensor):
        changed = change(batch)
    elif is_dataclass(batch) and not isinstance(batch, type):
        values = {field.name: map_tensors(getattr(batch, field.name), change) for field in fields(batch)}
        changed = replace(batch, **values)
    result: B = changed
    return result


class CanFail(Protocol):
    """A batch of clips that were decoded."""

    @property
    def failures(self) -> list[str]:
        """Return what could not be decoded and was replaced, a line each."""


F = TypeVar("F", bound=CanFail)


def training_batches(
    dataset: Dataset[S],
    batches: Iterable[Sequence[object]],
    workers: int,
    join: Callable[[list[S]], F],
    known: list[str],
    limit: int,
) -> Iterator[F]:
    """Yield batches as `make_loader` does; add to `known` what could not be decoded, a clip that fails in every epoch
    once.

    Raises:
        DataError: more than `limit` (data.max_failures) are known.
    """
    for batch in make_loader(dataset, batches, workers, join):
        known += [text for text in dict.fromkeys(batch.failures) if text not in known]
        if len(known) > limit:
            raise DataError(
                f"{len(known)} clips could not be decoded, more than data.max_failures ({limit}). The last: {known[-1]}"
            )
        yield batch


def make_loader(
    dataset: Dataset[S], batches: Iterable[Sequence[object]], workers: int, join: Callable[[list[S]], B]
) -> Iterator[B]:
    """Yield batches of the given keys, in their order; workers use one thread each and leave signals to the main
    process.

    Workers use one thread each and leave signals to the main process. Without workers a thread
    of this process makes the next batch while the last one is used.

    Raises:
        DataError: a worker process died.
        AsgmError: what `dataset` raised, as it was raised.
    """
    import torchvision.transforms.v2  # noqa: F401 - here once, and not again in each of the workers

    loader: DataLoader[S | AsgmError] = DataLoader(
        _Guarded(dataset),
        batch_sampler=_Batches(batches),
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
        for made in loader if workers else one_ahead(iter(loader)):
            if isinstance(made, AsgmError):
                raise made
            yield made.batch
    except RuntimeError as error:
        if "DataLoader worker" in str(error) and ("exited" in str(error) or "killed" in str(error)):
            raise DataError(
                f"A process that decodes clips died: {str(error).splitlines()[0]} Often memory was short: lower "
                "data.workers, or set it to 0."
            ) from None
        raise


def one_ahead(batches: Iterator[T]) -> Iterator[T]:
    """Yield the same batches, each made in another thread while the one before it is used.

    Decoding and torch's operations let the two run side by side. What a batch raises is raised in its place.
    """
    # The number of threads is that thread's own: the training step keeps its.
    with ThreadPoolExecutor(1, "batches", torch.set_num_threads, (1,)) as thread:
        waiting = thread.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = thread.submit(next, batches, None)
            yield batch


@dataclass
class _Guarded(Dataset[S | AsgmError]):
    """Returns errors as values: a DataLoader would wrap those of its workers in a traceback."""

    dataset: Dataset[S]

    def __getitem__(self, key: object) -> S | AsgmError:
        try:
            return self.dataset[key]
        except AsgmError as error:
            return error


@dataclass(frozen=True)
class _Made(Generic[B]):
    """A batch on its way here. A DataLoader pins the tensors of containers that it knows, or asks for `pin_memory`."""

    batch: B

    def pin_memory(self) -> _Made[B]:
        return _Made(map_tensors(self.batch, Tensor.pin_memory))


def _join_or_error(join: Callable[[list[S]], B], samples: list[S | AsgmError]) -> _Made[B] | AsgmError:
    good = [sample for sample in samples if not isinstance(sample, AsgmError)]
    failed = next((sample for sample in samples if isinstance(sample, AsgmError)), None)
    return _Made(join(good)) if failed is None else failed


class _Batches:
    """A batch sampler of lists known beforehand."""

    def __init__(self, batches: Iterable[Sequence[object]]) -> None:
        self.batches = [list(batch) for batch in batches]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[object]]:
        return iter(self.batches)


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)
    # Job schedulers signal whole process groups; workers end when the main process, having saved, lets them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
