"""The folder of a generated data set: claimed for its settings, filled by processes, finished where it stopped."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from asgmcli.errors import DataError, UsageError
from asgmcli.files import write_text

SETTINGS_NAME = "settings.json"
Progress = Callable[[int, int], None]
"""Called with the number of clips done and of all clips."""
A = TypeVar("A")
R = TypeVar("R")


def claim(
    out: Path, settings: Mapping[str, Any], outputs: Iterable[str], files: Iterable[Path], *, overwrite: bool
) -> bool:
    """Make the folder `out` ours for these settings. Return True if all is done there already.

    Args:
        out: made if missing.
        settings: that decide every file of it.
        outputs: files and folders that a finished data set has.
        files: clips that it has.
        overwrite: remove a data set of other settings.

    Raises:
        UsageError: something else is there and `overwrite` is not given.
    """
    marker, outputs = out / SETTINGS_NAME, tuple(outputs)
    if overwrite:
        for name in (SETTINGS_NAME, *outputs):
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


def in_processes(make: Callable[[A], R], items: Sequence[A], processes: int) -> Iterator[R]:
    """Make every item with `make`, in order; spawned processes start alike on every system and inherit no threads.

    Raises:
        DataError: a process was killed.
    """
    if processes <= 1:
        yield from map(make, items)
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        yield from pool.map(make, items, chunksize=max(1, min(16, len(items) // (4 * processes))))
    except BrokenProcessPool:
        raise DataError(
            "A process that makes clips was killed, perhaps for want of memory. Run the same command again, with fewer "
            "workers: it goes on where this one stopped."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def csv_text(lines: Iterable[Sequence[object]]) -> str:
    """Return the lines as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
