"""One run, one process: a lock beside the run's folder that names its holder and falls when the holder dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from asgmcli.errors import DataError, UsageError

PATIENCE_S = 1.0  # a look at the lock, or a process on its way out, holds it for an instant
POLL_S = 0.05
# Where a file system (some parallel ones as mounted) keeps no locks, the holder's record alone decides.
NO_LOCKS = frozenset((errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL))


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: `started` is when its process began, in the system's own ticks (0: unknown), which tells it
    from a later process of the same id."""

    host: str
    process: int
    started: int

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()))

    def gone(self) -> bool:
        """Whether the process is known to have ended; of another host nothing is known."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return self.started != _started(self.process)


def lock_path(folder: Path) -> Path:
    """The lock file of a run's folder: beside it, since --overwrite removes the folder."""
    return folder.with_name(f"{folder.name}.lock")


def refuse_if_held(folder: Path) -> None:
    """See that no other process trains in `folder`; nothing is written.

    Raises:
        UsageError: another process does; it is named.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            handle = os.open(lock_path(folder), os.O_RDWR)
        except OSError:
            return  # nobody is there, or it cannot be written to, which is told when it is
        try:
            if _take(handle)[0]:
                return
            holder = _read(handle)
        finally:
            os.close(handle)
        # Of one that is gone only a child may have the file, for the instant before it closes it; or another looks.
        if time.monotonic() > deadline or not (holder is None or holder.gone()):
            raise UsageError(_refusal(folder, holder))
        time.sleep(POLL_S)


@contextmanager
def held(folder: Path) -> Iterator[Holder | None]:
    """Hold the lock of a run's folder; gives the holder who left it behind when it died, or None.

    The lock is the kernel's (flock): it falls with its process, however that ends, and on network file systems that
    pass locks on (NFS 4, CIFS, Lustre with -o flock, GPFS) it counts between hosts. Where a file system has no locks, a
    record of host, process and its start decides: a holder on this host that is gone is passed over, one on another
    host is believed.

    Raises:
        UsageError: another process trains in the folder; it is named.
        DataError: the lock cannot be written.
    """
    path = lock_path(folder)
    handle, left = _acquire(path, folder)
    # A forked child (a loader's worker) that outlives this process must not keep its lock.
    closed = _Once(handle)
    os.register_at_fork(after_in_child=closed)
    try:
        yield left
    finally:
        with suppress(OSError):
            path.unlink()  # while it is still ours: who waits for it sees that its file is gone, and makes a new one
        closed()


class _Once:
    """Closes a file handle the first time it is called."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    def __call__(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)


def _acquire(path: Path, folder: Path) -> tuple[int, Holder | None]:
    """An open, locked file with our record in it, and the record that was there."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}. Name another place with --runs.") from None
        try:
            taken, kept = _take(handle)
            if taken and _is_at(handle, path):
                left = _read(handle)
                _write(handle, path)
                if not kept:
                    time.sleep(PATIENCE_S)  # of two that came at once, the one that wrote last stays
                if kept or _read(handle) == Holder.me():
                    return handle, left
                taken = False
            if not taken and time.monotonic() > deadline:
                raise UsageError(_refusal(folder, _read(handle)))
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        time.sleep(POLL_S)


def _take(handle: int) -> tuple[bool, bool]:
    """(whether the open file is ours now, whether the file system keeps the lock: else the record decides)."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False, True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise DataError(f"The run cannot be locked: {error.strerror}.") from None
        holder = _read(handle)
        return holder is None or holder.gone(), False
    return True, True


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _read(handle: int) -> Holder | None:
    """The record in a lock file; None where there is none yet, or half of one."""
    try:
        values = json.loads(os.pread(handle, 4096, 0))
        return Holder(str(values["host"]), int(values["process"]), int(values["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(handle: int, path: Path) -> None:
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(Holder.me())).encode(), 0)
        os.fsync(handle)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}. Make room or name another place.") from None


def _refusal(folder: Path, holder: Holder | None) -> str:
    who = "another process" if holder is None else f"process {holder.process} on host {holder.host}"
    return (
        f"{folder}: {who} is training here. Wait for it, stop it, or train elsewhere with --runs. If it is surely "
        f"gone, remove {lock_path(folder)}."
    )


def _started(process: int) -> int:
    """When a process began, in clock ticks since the system's start (Linux); 0 where the system does not tell."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            # The name, in parentheses, may hold spaces and parentheses itself; the start is the 22nd field.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
