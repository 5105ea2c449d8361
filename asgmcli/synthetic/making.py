"""The parts that generated data sets share: settings, the folder, processes that fill it, the summary.

A folder is claimed for its settings; work that stopped goes on where it was.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import click

from asgmcli.data.features import FEATURES_FOLDER
from asgmcli.data.manifest import CLASSES_NAME, MANIFEST_NAME, SPLITS, Manifest
from asgmcli.data.size import Size
from asgmcli.errors import DataError, UsageError
from asgmcli.files import write_text

SETTINGS_NAME = "settings.json"
SUMMARY_NAME, QUARANTINE_NAME, PREVIEW_NAME, CLIPS_FOLDER = "summary.json", "quarantine.csv", "preview.png", "clips"
OUTPUTS = (SUMMARY_NAME, MANIFEST_NAME, CLASSES_NAME, QUARANTINE_NAME, PREVIEW_NAME)
"""Files that every data set has."""
MOST_CLIPS, MOST_PIXELS = 10_000_000, 4096
LARGE = 31 << 20  # bytes, just below the largest that glibc learns from
KILLED = (
    "A process that makes clips was killed, perhaps for want of memory. Run the same command again, with fewer "
    "workers: it goes on where this one stopped."
)
Progress = Callable[[int, int], None]
"""Called with the number of steps done and of all: a clip is one, its features are another where they are made too."""
A = TypeVar("A")
R = TypeVar("R")


def options_of(train: int, val: int, test: int, size: int) -> tuple[click.Option, ...]:
    """Return the click options that every generated data set has, by their defaults."""
    clips = {"train": ("Training", train), "val": ("Validation", val), "test": ("Test", test)}
    return (
        *(
            click.Option([f"--{split}"], type=click.IntRange(min=0), help=f"{name} clips.  [default: {count}]")
            for split, (name, count) in clips.items()
        ),
        click.Option(["--size"], type=click.IntRange(min=32), help=f"Side of a frame in pixels.  [default: {size}]"),
    )


@dataclass(frozen=True)
class GeneratedSettings:
    """The settings that every generated data set has: clips a split, seed, frame side in pixels."""

    train: int
    val: int
    test: int
    seed: int = 0
    size: int = 48

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of clips of each split."""
        return {split: getattr(self, split) for split in SPLITS}

    def expected(self, classes: int, *, boxes: bool = False) -> Size:
        """Return the size of the data set, whose settings are possible.

        Raises:
            UsageError: they are not.
        """
        self.check()
        return Size(classes, self.counts, "the settings of what is generated", boxes=boxes)

    @property
    def clips(self) -> list[tuple[str, int]]:
        """Return (split, index) of every clip, in the manifest's order."""
        return [(split, index) for split, count in self.counts.items() for index in range(count)]

    def faults(self, multiple: int = 2) -> list[str]:
        """Return what is wrong with the settings; `multiple` divides a frame's side."""
        faults = [f"{s} = {n} is not in 0..{MOST_CLIPS}" for s, n in self.counts.items() if not 0 <= n <= MOST_CLIPS]
        if not faults and not self.clips:
            faults.append("no split has a clip")
        if self.seed < 0:
            faults.append(f"seed = {self.seed} is below 0")
        if not 32 <= self.size <= MOST_PIXELS or self.size % multiple:
            faults.append(f"size = {self.size} is not a multiple of {multiple} in 32..{MOST_PIXELS} pixels")
        return faults

    def check(self) -> None:
        """Raise UsageError, naming every fault, where no data set can be made of these."""
        if faults := self.faults():
            raise UsageError(f"The demo data set cannot be made: {'; '.join(faults)}. Mend these options.")


def clip_id(split: str, index: int) -> str:
    """Return the clip's id, which reveals nothing of its content."""
    return f"{split}_{index:05d}"


def clip_path(out: Path, split: str, index: int) -> Path:
    """Return the file of a clip that is a video."""
    return out / CLIPS_FOLDER / split / f"{clip_id(split, index)}.mp4"


def write_summary(
    out: Path, name: str, settings: object, manifest: Manifest, labels: Mapping[str, Iterable[str]], **more: object
) -> None:
    """Write quarantine.csv, without rows, and summary.json, which says last that all is there.

    Args:
        out: the folder.
        name: of the data set.
        settings: of its clips.
        manifest: as written.
        labels: the classes of each clip by id.
        **more: further entries.
    """
    write_text(out / QUARANTINE_NAME, csv_text([("id", "path", "reason", "detail")]))
    # The three standard splits are counted even if empty.
    splits = dict.fromkeys((*SPLITS, *(row.split for row in manifest.rows)))
    counted = {
        split: Counter(label for row in manifest.rows if row.split == split for label in labels[row.id])
        for split in splits
    }
    summary = {
        "dataset": name,
        "settings": settings,
        "clips": len(manifest.rows),
        "counts": {split: {label: counted[split][label] for label in manifest.classes} for split in splits},
        "manifest_sha256": manifest.sha256,
        **more,
    }
    write_text(out / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Tell a user what to do where the folder cannot be written to.

    Raises:
        DataError: it cannot.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{out} cannot be written ({error.strerror or error}). Name another folder with --out."
        ) from error


def claim(
    out: Path, settings: Mapping[str, Any], outputs: Iterable[str], files: Iterable[Path], *, overwrite: bool
) -> bool:
    """Make the folder `out` ours for these settings. Return True if all is done there already.

    Args:
        out: made if missing.
        settings: that decide every file of it.
        outputs: files and folders that a finished data set has.
        files: clips that it has.
        overwrite: remove what is there, and the features that were made of it.

    Raises:
        UsageError: something else is there and `overwrite` is not given.
    """
    marker, outputs = out / SETTINGS_NAME, tuple(outputs)
    if overwrite:
        # Features of clips that are replaced would be taken for the new ones': the manifest may be the same.
        for name in (SETTINGS_NAME, FEATURES_FOLDER, *outputs):
            target = out / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
    elif marker.exists():
        differing = _differences(marker, settings)
        if differing:
            raise UsageError(
                f"{out} holds a demo data set of other settings ({differing}). "
                "Give those, another --out, or --overwrite to replace it."
            )
        return all((out / name).exists() for name in outputs) and all(path.exists() for path in files)
    elif any((out / name).exists() for name in outputs):
        raise UsageError(f"{out} holds another data set. Name another --out, or give --overwrite to replace it.")
    out.mkdir(parents=True, exist_ok=True)
    write_text(marker, json.dumps(settings, indent=2) + "\n")
    return False


def _differences(marker: Path, given: Mapping[str, Any]) -> str:
    """Describe how the settings in the marker file differ from these; "" if they do not."""
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
        names = [name for name in {**given, **found} if found.get(name) != given.get(name)]
        return ", ".join(f"{name} {found.get(name)} there, {given.get(name)} now" for name in names)
    except (ValueError, TypeError, AttributeError):
        return f"{marker.name} cannot be read"


def in_processes(
    make: Callable[[A], R], items: Sequence[A], workers: int | None, progress: Progress | None = None
) -> Iterator[R]:
    """Make every item with `make`, in order; spawned processes start alike on every system and inherit no threads.

    Args:
        make: importable by name in a process.
        items: of the work.
        workers: processes; None takes the machine's cores, 0 or 1 this process alone.
        progress: called after every item.

    Raises:
        DataError: a process was killed.
    """
    processes = min(_count(workers), len(items))
    with ExitStack() as stack:
        made: Iterator[R] = map(make, items)
        if processes > 1:
            pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_keep_memory)
            stack.callback(pool.shutdown, cancel_futures=True)
            made = pool.map(make, items, chunksize=max(1, min(16, len(items) // (4 * processes))))
        try:
            for done, result in enumerate(made, start=1):
                yield result
                if progress is not None:
                    progress(done, len(items))
        except BrokenProcessPool:
            raise DataError(KILLED) from None


@contextmanager
def beside(work: Callable[[], object], workers: int | None) -> Iterator[None]:
    """Do `work`, importable by name, in one more process beside the block, and end when both are done.

    Where `workers` (see `in_processes`) leave this process alone, it is done before the block, here. If the block
    fails, it is broken off.

    Raises:
        DataError: the process was killed.
        Exception: what `work` raised.
    """
    if _count(workers) <= 1:
        work()
        yield
        return
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield
        try:
            error = ours.recv()
        except EOFError:
            raise DataError(KILLED) from None
        if error is not None:
            raise error
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
        ours.close()


def _tell(work: Callable[[], object], pipe: Connection) -> None:
    """Do `work` and send what it raised, or None."""
    _keep_memory()
    error: BaseException | None = None
    try:
        work()
    except BaseException as raised:
        error = raised
    pipe.send(error)


def _count(workers: int | None) -> int:
    """Return how many processes are meant; None: the machine's cores."""
    return os.cpu_count() or 1 if workers is None else workers


def _keep_memory() -> None:
    """Have glibc keep what is freed, which it learns from a large piece, not ask for pages anew for every sound."""
    bytearray(LARGE)


def csv_text(lines: Iterable[Sequence[object]]) -> str:
    """Return the lines as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
