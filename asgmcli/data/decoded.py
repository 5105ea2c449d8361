"""Decoded clips as arrays on disk, beside their manifest: many short runs on the same clips then decode them once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.maps import state_of
from asgmcli.errors import DataError
from asgmcli.files import replacing

DECODED_FOLDER = "decoded"
"""Beside the manifest. It may be removed at any time: what is missing is decoded again."""
FULL_SCALE = 32768


def decoded_paths(manifest: Manifest, row: ManifestRow, short_side: int, backend: str = "pyav") -> tuple[Path, Path]:
    """Return where the frames of `row`, at most `short_side` pixels, decoded by `backend`, and its sound are kept."""
    stem = manifest.folder / DECODED_FOLDER / row.id
    side = min(short_side, row.width, row.height)
    kind = f"frames{side}" if backend == "pyav" else f"frames{side}_{backend}"
    return stem.with_name(f"{stem.name}_{kind}.npy"), stem.with_name(f"{stem.name}_wave.npy")


class DecodedClips:
    """Whole clips as .npy files, each made by whichever run first asks for it.

    Behind a file's array stand the size and the date of its clip: once they differ it is made anew.

    Args:
        manifest: whose rows will be read.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.folder = manifest.folder / DECODED_FOLDER

    def frames(
        self, row: ManifestRow, short_side: int, decode: Callable[[], np.ndarray], *, backend: str = "pyav"
    ) -> np.ndarray:
        """Return uint8 [T, H, W, 3] with a short side of at most `short_side` pixels; `decode` gives them where needed.

        Frames of different backends differ by rounding, so each `backend` (that of `decode`) has files of its own.

        Raises:
            MediaError: what `decode` raises.
            DataError: the clip's id would lead out of the folder, or that cannot be written to.
        """
        whole = decoded_paths(self.manifest, row, short_side, backend)[0]
        return self._array(row, whole, self.manifest.resolve(row), decode)

    def wave(self, row: ManifestRow, source: Path, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """Return float32 [S] in steps of 16 bits, from the cache or from `decode`, with equal values.

        Raises:
            MediaError: what `decode` raises.
            DataError: the clip's id would lead out of the folder, or that cannot be written to.
        """

        def rounded() -> np.ndarray:
            return np.clip(np.round(decode() * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)

        return (
            self._array(row, decoded_paths(self.manifest, row, 0)[1], source, rounded).astype(np.float32) / FULL_SCALE
        )

    def _array(self, row: ManifestRow, path: Path, source: Path, decode: Callable[[], np.ndarray]) -> np.ndarray:
        if Path(row.id).is_absolute() or ".." in Path(row.id).parts:
            raise DataError(f"{self.manifest.path}: the id {row.id!r} would lead out of {self.folder}. Rename it.")
        state: list[int] = []
        try:
            state = state_of(source)  # before it is read: it may be replaced meanwhile
            kept, made_of = _read(path)
            if made_of == state or (made_of is None and path.stat().st_mtime_ns >= state[1]):
                return kept
        except (OSError, ValueError, EOFError):
            pass  # missing or broken: it is made (again)
        found = decode()
        with replacing(path, found.nbytes) as temporary, temporary.open("wb") as file:
            np.save(file, found, allow_pickle=False)
            np.save(file, np.array(state), allow_pickle=False)
        return found


def _read(path: Path) -> tuple[np.ndarray, list[int] | None]:
    """Read an array, and the state of the file that it was made of; None where it was kept before that was written."""
    with path.open("rb") as file:
        kept: np.ndarray = np.load(file, allow_pickle=False)
        try:
            return kept, np.load(file, allow_pickle=False).tolist()
        except EOFError:
            return kept, None
