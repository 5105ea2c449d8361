"""One process a run: a lock beside the run's folder that names its holder and is released when the holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from asgmcli.errors import DataError, UsageError

PATIENCE_S = 1.0  # a look at the lock holds it for an instant


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock."""

    host: str
    process: int


def lock_path(folder: Path) -> Path:
    """Return the lock file of a run's folder: beside it, since --overwrite removes the folder."""
    return folder.with_name(f"{folder.name}.lock")


def refuse_if_held(folder: Path) -> None:
    """Check that no other process trains in `folder`; write nothing.

    Raises:
        UsageError: another process does; the message names it.
    """
    path = lock_path(folder)
    try:
        with path.open() as file:  # not by filelock, which makes the file, and in some releases empties it
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(_refusal(path)) from None
    except OSError:
        return  # no holder, or unreadable, which is reported when it is written


@contextmanager
def held(folder: Path) -> Iterator[Holder | None]:
    """Hold the lock of a run's folder; yield the holder who left it behind when it died, or None.

    The lock is the kernel's (flock): it is released when its process ends in any way, and holds between hosts on
    network file systems that support it (NFS 4, CIFS, Lustre with -o flock, GPFS).

    Raises:
        UsageError: another process trains in the folder; the message names it.
        DataError: the lock cannot be written.
    """
    path = lock_path(folder)
    lock = FileLock(path, timeout=PATIENCE_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        left = _read(path)
        lock.acquire()
        path.write_text(json.dumps(asdict(Holder(socket.gethostname(), os.getpid()))))
    except Timeout:
        raise UsageError(_refusal(path)) from None
    except OSError as error:
        lock.release()
        raise DataError(f"{path} cannot be written: {error.strerror}. Name another place with --runs.") from None
    try:
        yield left
    finally:
        with suppress(OSError):
            path.unlink()  # while it is still ours: who waits for it sees that its file is gone, and makes a new one
        lock.release()


def _read(path: Path) -> Holder | None:
    """Return the record in a lock file; None if it is missing or incomplete."""
    try:
        values = json.loads(path.read_text())
        return Holder(str(values["host"]), int(values["process"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(path: Path) -> str:
    holder = _read(path)
    who = "another process" if holder is None else f"process {holder.process} on host {holder.host}"
    return (
        f"{path.with_suffix('')}: {who} is training here. Wait for it, stop it, or train elsewhere with --runs. If it "
        f"is surely gone, remove {path}."
    )
