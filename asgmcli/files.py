"""Atomic file writing: beside the target, flushed to the disk, then renamed over it."""

from __future__ import annotations

import glob
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asgmcli.errors import DataError

MOST_TEXT = 512 << 20
"""Bytes of a manifest or of a list of clips: three million lines."""
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)
NAME_CHARACTERS = 60  # of the target's stem in the temporary name: file systems allow 255 bytes in all


@contextmanager
def replacing(path: str | os.PathLike[str], size: int | None = None) -> Iterator[Path]:
    """Yield a path to write to; when the block succeeds it replaces `path`.

    The temporary name, `.<stem>.<random>.part<suffix>`, keeps the suffix, by which some writers choose a format.
    Folders are made. If the block raises, the temporary file is removed and an existing `path` stays as it was.

    Args:
        path: the target.
        size: bytes to be written, roughly, if known; named in the message about a full disk.

    Raises:
        DataError: the folder cannot be made or written to, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem[:NAME_CHARACTERS]}.{uuid.uuid4().hex[:12]}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {_reason(error, temporary)}.{_room(target, size)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Devices and pipes are not opened, and at most `limit` bytes are read of a file that is still growing.

    Raises:
        OSError: the file is missing or cannot be read.
        DataError: it is no regular file, or larger.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        what = next((name for test, name in KINDS if test(found.st_mode)), "something else")
        raise DataError(f"{os.fspath(path)}: not a regular file but {what}. Name a file.")
    content = b""
    if found.st_size <= limit:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    if max(found.st_size, len(content)) > limit:
        raise DataError(
            f"{os.fspath(path)}: larger than {limit / 2**20:g} MiB, the most that a file of this kind may have. "
            "Is it the right file?"
        )
    return content


def read_text(path: str | os.PathLike[str], limit: int = MOST_TEXT) -> str:
    """Return the text of a regular file of at most `limit` bytes, UTF-8 with or without a byte order mark.

    Bytes that are not UTF-8 are kept as file names keep them; all line ends become one newline.

    Raises:
        OSError, DataError: see `read_bytes`.
    """
    text = read_bytes(path, limit).decode("utf-8-sig", errors="surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically.

    Raises:
        DataError: see `replacing`.
    """
    with replacing(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically; line ends stay as they are.

    File names that are not UTF-8 come back as the bytes they were.

    Raises:
        DataError: see `replacing`.
    """
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def remove_strays(path: str | os.PathLike[str]) -> list[Path]:
    """Remove temporary files that killed processes left of `path`; only for targets with a single writer."""
    target = Path(path)
    stem = glob.escape(target.stem[:NAME_CHARACTERS])
    found = list(target.parent.glob(f".{stem}.{'[0-9a-f]' * 12}.part{glob.escape(target.suffix)}"))
    for stray in found:
        with suppress(OSError):
            stray.unlink()
    return found


def remove_all_strays(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove temporary files that killed processes left in or below `folder`; only for folders with a single writer."""
    found = [path for path in Path(folder).rglob(f".*.{'[0-9a-f]' * 12}.part*") if path.is_file()]
    for stray in found:
        with suppress(OSError):
            stray.unlink()
    return found


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a power failure, if the file system allows folders to be flushed."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: OSError, temporary: Path) -> str:
    reason = error.strerror or str(error)
    elsewhere = error.filename is not None and os.fspath(error.filename) != os.fspath(temporary)
    return f"{reason} ({error.filename})" if elsewhere else reason


def _room(target: Path, size: int | None) -> str:
    """Describe the free and the needed room on the disk; "" if unknown."""
    rest = " What was there before is unchanged." if target.exists() else ""
    if size is None:
        return f" Make room or name another place.{rest}"
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError:
        return f" Name another place.{rest}"
    return f" It takes about {size / 1e6:.1f} MB, {free / 1e6:.1f} MB are free. Make room or name another place.{rest}"
