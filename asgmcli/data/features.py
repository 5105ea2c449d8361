"""The store of what frozen networks compute once from clips: one memory-mapped array a kind of feature.

A store named `audio_vggish` is two files in the folder `features` beside the manifest: `audio_vggish.npy` holds the
rows of all clips one after the other, `audio_vggish.json` says which rows are whose and what they were made from. Both
appear when the last clip is in; until then an extraction lives in a hidden folder, from which a killed one goes on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from asgmcli.errors import DataError
from asgmcli.files import replacing, write_text

FEATURES_FOLDER = "features"
FORMAT = "asgm-features-1"
LARGEST = float(np.finfo(np.float16).max)
Array = NDArray[np.floating[Any]]
Dtype = Literal["float16", "float32"]
DTYPES = get_args(Dtype)


@dataclass(frozen=True)
class Origin:
    """The inputs that features are computed from; another origin gives other features.

    Attributes:
        manifest: SHA-256 of the manifest.
        weights: SHA-256 of the network's weight file, or a word for features as their authors released them.
        settings: everything else that affects the numbers, as JSON.
    """

    manifest: str
    weights: str
    settings: Mapping[str, object] = field(default_factory=dict)

    def differences(self, other: Origin) -> list[str]:
        """Describe each difference from `other`, one line each."""
        found = [f"another {name}" for name in ("manifest", "weights") if getattr(self, name) != getattr(other, name)]
        names = sorted({*self.settings, *other.settings})
        values = [(name, self.settings.get(name), other.settings.get(name)) for name in names]
        return found + [f"{name} {mine!r}, not {theirs!r}" for name, mine, theirs in values if mine != theirs]

    def as_json(self) -> dict[str, object]:
        """Return the origin as it is written, tuples as lists."""
        content: dict[str, object] = json.loads(json.dumps({**asdict(self), "settings": dict(self.settings)}))
        return content


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks.

    Raises:
        DataError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()


@dataclass(frozen=True)
class Features:
    """A finished store.

    Attributes:
        path: of the array.
        array: float16 [rows, ...], memory-mapped and read-only; in memory after `loaded`.
        places: (first row, number of rows) by clip id.
        origin: what the features were made from.
    """

    path: Path
    array: Array
    places: Mapping[str, tuple[int, int]]
    origin: Origin

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""
        return tuple(self.array.shape[1:])

    def of_clip(self, clip: str) -> Array:
        """Return the rows of one clip, float16 [n, ...], without a copy.

        Raises:
            DataError: the store does not have the clip.
        """
        first, count = self.place(clip)
        return self.array[first : first + count]

    def loaded(self) -> Features:
        """Return the same store with its array in memory."""
        return Features(self.path, np.array(self.array), self.places, self.origin)

    def place(self, clip: str) -> tuple[int, int]:
        """Return (first row, number of rows) of one clip.

        Raises:
            DataError: the store does not have the clip.
        """
        if clip not in self.places:
            raise DataError(f"{self.path}: no features of clip {clip!r}. Extract them again.")
        return self.places[clip]


def features_folder(manifest_folder: Path) -> Path:
    """Return where the stores of a manifest lie."""
    return manifest_folder / FEATURES_FOLDER


def open_features(folder: Path, name: str, origin: Origin | None = None, how: str = "") -> Features:
    """Open a finished store.

    Args:
        folder: of the stores.
        name: of the store.
        origin: what the features must be made from; None takes them as they are.
        how: what a user types to make them, for messages.

    Raises:
        DataError: there is no such store, it is damaged, or it was made from something else.
    """
    path, index = folder / f"{name}.npy", folder / f"{name}.json"
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        dtype = content.get("dtype", "float16")
        if (
            content["format"] != FORMAT
            or dtype not in DTYPES
            or array.dtype != dtype
            or list(array.shape) != content["shape"]
        ):
            raise ValueError("index and array do not fit")
        places = _places(content["clips"])
        found = Origin(content["origin"]["manifest"], content["origin"]["weights"], content["origin"]["settings"])
        if sum(count for _, count in places.values()) != len(array):
            raise ValueError("index and array do not fit")
    except FileNotFoundError:
        raise DataError(f"{path}: no such features. {how}".rstrip()) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: damaged features ({error}). Remove them and make them again. {how}".rstrip()
        ) from None
    if origin is not None and (changed := found.differences(origin)):
        raise DataError(f"{path}: made from {'; '.join(changed)}. Make them again. {how}".rstrip())
    return Features(path, array, places, found)


def has_features(folder: Path, name: str, origin: Origin) -> bool:
    """Return True if the store is finished and made from `origin`."""
    if not (folder / f"{name}.json").exists():
        return False
    try:
        open_features(folder, name, origin)
    except DataError:
        return False
    return True


def made_once(folder: Path, names: Sequence[str], origin: Origin, make: Callable[[], None]) -> list[Features]:
    """Return finished stores; `make` writes them where they are not there yet, in one of the processes that ask.

    Raises:
        DataError: what `make` raises, or what it wrote is not of `origin`.
    """

    def there() -> bool:
        return all(has_features(folder, name, origin) for name in names)

    if not there():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{names[0]}.lock"):
            if not there():
                make()
    return [open_features(folder, name, origin) for name in names]


def _places(clips: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    places, first = {}, 0
    for clip, count in clips.items():
        places[clip] = (first, int(count))
        first += int(count)
    return places


class FeatureWriter:
    """Writes a store clip by clip, in any order; as a context it finishes the store when every clip is in.

    What an earlier process wrote of the same store is kept: `missing` names the clips that are left. One process writes
    a store at a time; the caller sees to that.

    Args:
        folder: of the stores.
        name: of the store.
        origin: what the features are made from. An unfinished store of another origin is thrown away, a finished one
            replaced at the end.
        clips: rows of each clip, in the manifest's order.
        shape: of one row.
        dtype: of the numbers; float32 keeps every digit at twice the room.

    Raises:
        DataError: the disk is full or not writable.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        origin: Origin,
        clips: Mapping[str, int],
        shape: Sequence[int],
        dtype: Dtype = "float16",
    ) -> None:
        self.path = folder / f"{name}.npy"
        self._index = folder / f"{name}.json"
        self._work = folder / f".{name}.part"
        self._places = _places(clips)
        rows = sum(count for _, count in self._places.values())
        self._shape = (rows, *shape)
        self._dtype = np.dtype(dtype)
        self._content = {
            "format": FORMAT,
            "origin": origin.as_json(),
            "shape": list(self._shape),
            **({} if dtype == "float16" else {"dtype": dtype}),
            "clips": {clip: int(count) for clip, count in clips.items()},
        }
        self._done: set[str] = set()
        try:
            self._begin()
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def _begin(self) -> None:
        plan, array = self._work / "plan.json", self._work / "array.npy"
        try:
            same = json.loads(plan.read_text(encoding="utf-8")) == self._content
            if same:
                self._array: Array = np.load(array, mmap_mode="r+", allow_pickle=False)
        except (OSError, ValueError):
            same = False
        if not same:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work.mkdir(parents=True)
            self._array = np.lib.format.open_memmap(array, mode="w+", dtype=self._dtype, shape=self._shape)
            _take_room(array)
            write_text(plan, json.dumps(self._content))
        journal = self._work / "done.txt"
        lines = journal.read_text(encoding="utf-8").splitlines(keepends=True) if journal.exists() else []
        whole = [line for line in lines if line.endswith("\n")]  # a killed process may have cut the last one
        if whole != lines:
            write_text(journal, "".join(whole))
        self._done = {json.loads(line) for line in whole} & set(self._places)
        self._journal = journal.open("a", encoding="utf-8")

    @property
    def missing(self) -> list[str]:
        """Return the clips whose rows are not written yet, in order."""
        return [clip for clip in self._places if clip not in self._done]

    def write(self, rows: Iterable[tuple[str, Array]]) -> None:
        """Write the rows of some clips, [n, ...] each, and note on the disk that they are there.

        Raises:
            DataError: a clip that is not in the store, rows of another shape, a number that is not finite or too large
                for float16, or a full disk.
        """
        written = []
        try:
            for clip, values in rows:
                if clip not in self._places:
                    raise DataError(f"{self.path}: no place for features of clip {clip!r}")
                first, count = self._places[clip]
                wanted = (count, *self._array.shape[1:])
                if tuple(values.shape) != wanted:
                    raise DataError(
                        f"{self.path}: clip {clip}: features {list(values.shape)} instead of {list(wanted)}"
                    )
                largest = LARGEST if self._dtype == np.float16 else np.inf
                if not np.isfinite(values).all() or (values.size and float(np.abs(values).max()) > largest):
                    raise DataError(f"{self.path}: clip {clip}: a feature is not finite or beyond {largest:g}")
                self._array[first : first + count] = values
                written.append(clip)
            self._array.flush()  # type: ignore[attr-defined]
            self._journal.write("".join(json.dumps(clip) + "\n" for clip in written))
            self._journal.flush()
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._done |= set(written)

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        if kind is not None:
            return
        if missing := self.missing:
            raise DataError(f"{self.path}: {len(missing)} clips have no features, the first is {missing[0]}")
        del self._array  # unmapped
        # The index goes last: an array without its index is no store.
        self._index.unlink(missing_ok=True)
        with replacing(self.path) as temporary:
            (self._work / "array.npy").replace(temporary)
        write_text(self._index, json.dumps(self._content))
        shutil.rmtree(self._work, ignore_errors=True)


def _take_room(path: Path) -> None:
    """Claim a new file's bytes on the disk: writing to a mapped file on a full disk would end the process."""
    size = path.stat().st_size
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, it takes {size / 1e6:,.0f} MB")
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, size)
