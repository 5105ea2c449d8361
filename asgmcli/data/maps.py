"""Localization maps made beforehand, in the files that `asgm localize` writes: one a clip, read by frame."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError, MediaError

MAPS_ENDING = "_maps.npz"
"""What is put behind a clip's name for its maps."""
MOTION = "motion"
MOTION_FOLDER = "motion_maps"
"""Beside the manifest, where training looks for the motion localizer's maps."""


class MapReader:
    """The motion localizer's maps of a manifest's clips.

    Args:
        manifest: whose rows will be read; the maps lie in `motion_maps` beside it.
        keep: hold what was read in memory.
    """

    def __init__(self, manifest: Manifest, *, keep: bool = False) -> None:
        self.manifest = manifest
        self.folder = manifest.folder / MOTION_FOLDER
        self._kept: dict[str, tuple[NDArray[np.float16], NDArray[np.float64]]] | None = {} if keep else None

    def stem(self, row: ManifestRow) -> Path:
        """Return the path of a clip's maps without its ending.

        Raises:
            DataError: the clip's id would lead out of the folder.
        """
        if Path(row.id).is_absolute() or ".." in Path(row.id).parts:
            raise DataError(f"{self.manifest.path}: the id {row.id!r} would lead out of {self.folder}. Rename it.")
        return self.folder / row.id

    def missing(self, rows: Iterable[ManifestRow]) -> list[ManifestRow]:
        """Return those of `rows` that have no maps, or whose file has changed since they were made."""
        return [row for row in rows if not self._is_new(row)]

    def maps(self, row: ManifestRow, frames: Sequence[int]) -> NDArray[np.float32]:
        """Read maps [T, h, w] in 0..1 at the given frames of a clip.

        Raises:
            MediaError: there are none, or the file is broken or of another localizer.
        """
        maps, times = self._read(row)
        return maps_at(maps, times, np.asarray(frames) / row.fps if row.fps > 0 else np.zeros(len(frames)))

    def _file(self, row: ManifestRow) -> Path:
        stem = self.stem(row)
        return stem.with_name(stem.name + MAPS_ENDING)

    def _is_new(self, row: ManifestRow) -> bool:
        path, clip = self._file(row), self.manifest.resolve(row)
        try:
            known = _source_in(path)
            return path.stat().st_mtime_ns >= clip.stat().st_mtime_ns if known is None else known == state_of(clip)
        except OSError:
            return False

    def _read(self, row: ManifestRow) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
        if self._kept is not None and row.id in self._kept:
            return self._kept[row.id]
        path = self._file(row)
        try:
            with np.load(path, allow_pickle=False) as content:
                maps, times, localizer = content["maps"], content["times"], str(content["localizer"])
            if maps.ndim != 3 or not len(maps) or times.shape != (len(maps),) or not np.isfinite(maps).all():
                raise ValueError(f"maps {maps.shape} at times {times.shape}")
        except FileNotFoundError:
            raise MediaError(
                f"{path}: no maps here. Make them: asgm localize {self.manifest.path} {self._how()}"
            ) from None
        except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
            raise MediaError(f"{path}: not the maps of a clip ({error}). Remove it; training makes it anew.") from None
        if localizer != MOTION:
            raise MediaError(f"{path}: made by the localizer {localizer}, not by motion. Remove it.")
        if self._kept is not None:
            self._kept[row.id] = maps, times
        return maps, times

    def _how(self) -> str:
        return f"--localizer {MOTION} --write maps --out {self.folder}"


def state_of(clip: Path) -> list[int]:
    """Return a file's size and the time of its last change, ns, by which maps know the clip that they were made of.

    Raises:
        OSError: there is none.
    """
    found = clip.stat()
    return [found.st_size, found.st_mtime_ns]


def _source_in(path: Path) -> list[int] | None:
    """Return what a file of maps says of its clip's state; None if it says nothing, or is broken, as reading it tells.

    Raises:
        FileNotFoundError: there is none.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            known: list[int] = content["source"].tolist()
            return known
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile):
        return None


def maps_at(maps: NDArray[np.floating], times: ArrayLike, wanted: ArrayLike) -> NDArray[np.float32]:
    """Interpolate maps at any times: linear between the two around each, held at the ends.

    Args:
        maps: [n, h, w].
        times: seconds [n], rising.
        wanted: seconds [T].

    Returns:
        float32 [T, h, w].
    """
    known, asked = np.asarray(times, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    after = np.searchsorted(known, asked).clip(1, max(len(known) - 1, 1))
    before, after = after - 1, np.minimum(after, len(known) - 1)
    span = known[after] - known[before]
    share = np.divide(asked - known[before], span, out=np.zeros(len(asked)), where=span > 0).clip(0, 1)
    weight = share.astype(np.float32)[:, None, None]
    result: NDArray[np.float32] = (1 - weight) * maps[before] + weight * maps[after]
    return result
