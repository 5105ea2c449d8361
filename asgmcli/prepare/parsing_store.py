"""Write the feature store of video parsing: from released arrays, and from videos by frozen networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.features import Dtype, FeatureWriter, Origin, features_folder
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import MediaError
from asgmcli.media.seconds import SECONDS, count_windows, read_frames, read_sound
from asgmcli.workers import Failure, is_spread, run_tasks

if TYPE_CHECKING:
    from torch import Tensor

STORES = ("audio_vggish", "image_resnet152", "motion_r2plus1d18")
ARRAYS = {"vggish": (SECONDS, 128), "res152": (8 * SECONDS, 2048), "r2plus1d_18": (SECONDS, 512)}
"""Folders of released arrays: rows of a whole clip, and width."""
WIDTHS = (128, 2048, 512)
CHUNK = 32  # clips between two flushes to the disk
LIMIT_S, AHEAD = 1800.0, 256
"""Seconds that another machine's core may take for a clip, and how many clips may be begun and not yet written."""
EXTRACTED = "extracted"
Rows = tuple[NDArray[np.floating[Any]], ...]


class Maker(Protocol):
    """Makes features of a window."""

    @property
    def frames_a_second(self) -> int:
        """Return how many frames of each second it takes."""

    @property
    def short_side(self) -> int:
        """Return the smallest side worth decoding, pixels."""

    def of_picture(self, frames: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return image and motion features [10, F] of a window's frames."""

    def of_sound(self, wave: NDArray[np.float32]) -> Tensor:
        """Return the sound's features [10, F] of a window's wave."""


@dataclass(frozen=True)
class Source:
    """The origin of a data set's features.

    Attributes:
        arrays: (clip's row) -> paths of its released arrays, in the order of `ARRAYS`; None where all are made.
        networks: makes the networks; only asked for where a clip needs them.
        settings: told in the store's index.
        dtype: of the numbers.
    """

    arrays: Callable[[ManifestRow], tuple[Path, ...]] | None
    networks: Callable[[], Maker]
    settings: Mapping[str, object]
    dtype: Dtype


def write_store(manifest: Manifest, source: Source, say: Callable[[str], None]) -> dict[str, object]:
    """Write the three arrays; a killed run goes on where it was. Return the summary's entries.

    Raises:
        DataError: a disk that is full, or a network's weights that are missing.
        MediaError: a video that cannot be decoded.
    """
    made = [row for row in manifest.rows if source.arrays is None or EXTRACTED in row.note.split("; ")]
    own = {row.id for row in made}
    clips = {row.id: count_windows(row.duration) if source.arrays is None else 1 for row in manifest.rows}
    origin = Origin(manifest.sha256, "networks" if source.arrays is None else "released", source.settings)
    folder = features_folder(manifest.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(FeatureWriter(folder, name, origin, clips, (SECONDS, width), source.dtype))
            for name, width in zip(STORES, WIDTHS, strict=True)
        ]
        missing = set().union(*(writer.missing for writer in writers))
        todo = [row for row in manifest.rows if row.id in missing]
        if todo:
            begun = f", {len(manifest.rows) - len(todo)} are there" if len(todo) < len(manifest.rows) else ""
            say(f"features of {len(manifest.rows)} clips{begun}; {len(own & missing)} of them are made from videos")
        waiting: list[tuple[str, Rows]] = []
        answers = _made(manifest, [(row, clips[row.id]) for row in todo if row.id in own], source.networks)
        for row in todo:
            if row.id in own:
                waiting.append((row.id, next(answers)))
            else:
                assert source.arrays is not None
                waiting.append((row.id, released_rows(source.arrays(row))))
            if row.id in own or len(waiting) >= CHUNK:  # what networks made is dear, and is kept at once
                _write(writers, waiting)
        _write(writers, waiting)
    return {"features": {"released": len(manifest.rows) - len(own), "extracted": len(own), "dtype": source.dtype}}


def _made(manifest: Manifest, todo: list[tuple[ManifestRow, int]], networks: Callable[[], Maker]) -> Iterator[Rows]:
    """Yield each clip's rows, from networks in this process or, where work is spread, on other machines' cores."""
    if not is_spread():
        maker = networks() if todo else None
        for row, windows in todo:
            assert maker is not None
            yield make_rows(manifest, row, windows, maker)
        return
    for (row, _), found in run_tasks(partial(_rows_of, manifest, networks), todo, 1, LIMIT_S, ahead=AHEAD):
        if isinstance(found, Failure):
            raise MediaError(f"{manifest.resolve(row)}: {found.detail}")
        yield found


_BUILT: list[Maker] = []
"""The networks of this process, once a clip has asked for them."""


def _rows_of(manifest: Manifest, networks: Callable[[], Maker], clip: tuple[ManifestRow, int]) -> Rows:
    if not _BUILT:
        _BUILT.append(networks())
    return make_rows(manifest, *clip, _BUILT[0])


def _write(writers: list[FeatureWriter], waiting: list[tuple[str, Rows]]) -> None:
    for place, writer in enumerate(writers):
        missing = set(writer.missing)
        writer.write((clip, rows[place]) for clip, rows in waiting if clip in missing)
    waiting.clear()


def released_rows(paths: tuple[Path, ...]) -> Rows:
    """Return a clip's features as the store holds them: [1, 10, F] each, filled or cut to ten seconds.

    The picture is the mean of each second's frames: the mean commutes with the linear layer behind it.
    """
    rows = []
    for path, (count, _) in zip(paths, ARRAYS.values(), strict=True):
        values = np.load(path, allow_pickle=False).astype(np.float32)[:count]
        lacking = count - len(values)
        values = np.concatenate([values, np.repeat(values[-1:], lacking, axis=0)]) if lacking else values
        rows.append(values.reshape(1, SECONDS, count // SECONDS, -1).mean(axis=2))
    return tuple(rows)


def make_rows(manifest: Manifest, row: ManifestRow, windows: int, maker: Maker) -> Rows:
    """Return a clip's features of its windows, [W, 10, F] each: sound, picture, motion; zeros for what it lacks.

    Raises:
        MediaError: the clip cannot be decoded.
    """
    parts = [window_features(manifest, row, window, maker) for window in range(windows)]
    return tuple(np.stack([part[place] for part in parts]) for place in range(len(STORES)))


def window_features(manifest: Manifest, row: ManifestRow, window: int, maker: Maker) -> Rows:
    """Return features [10, F] of sound, picture and motion of one window."""
    sound, picture = manifest.resolve_audio(row), row.width > 0 and row.fps > 0
    audio = None if sound is None else maker.of_sound(read_sound(sound, window)).numpy()
    seen = None
    if picture:
        frames = read_frames(
            manifest.resolve(row), row.fps, row.frames, window, maker.frames_a_second, maker.short_side
        )
        seen = tuple(part.numpy() for part in maker.of_picture(frames))
    widths = maker_widths(maker)
    zeros = [np.zeros((SECONDS, width), np.float32) for width in widths]
    return (zeros[0] if audio is None else audio, *(zeros[1:] if seen is None else seen))


def maker_widths(maker: Maker) -> tuple[int, int, int]:
    """Return the widths of what a maker makes."""
    widths: tuple[int, int, int] = getattr(maker, "widths", WIDTHS)
    return widths
