"""Frames of a clip as JPEGs: the 16 candidate times of every second, resized, in one file that is quick to read."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.windows import CANDIDATES, Window, read_draws, read_frames, resized
from asgmcli.errors import DataError, MediaError
from asgmcli.files import replacing, write_text
from asgmcli.media.clips import indices_at
from asgmcli.media.video import iterate_frames
from asgmcli.recipe.events import FrameInput

INDEX_NAME = "frame_cache.json"
"""Beside the manifest: where the cache of its clips lies, and how its frames were resized."""
MAGIC = b"ASGMJPG1"
QUALITY = 92


@dataclass(frozen=True)
class FrameReader:
    """Reads the frames of windows, resized: from the cache of the manifest's clips where there is one, else decoded.

    Attributes:
        manifest: of the clips.
        settings: how frames are resized.
    """

    manifest: Manifest
    settings: FrameInput

    def read(self, window: Window, draws: Sequence[int]) -> Tensor:
        """Return uint8 [T, 3, H, W], a frame at t + n / 16 of each second; both sides `resize_to`, or the short one.

        Raises:
            MediaError: the file cannot be decoded.
        """
        side, how = self.settings.resize_to, self.settings.resize
        path = self._cached(window)
        if path is not None:
            return read_jpegs(path, [CANDIDATES * (window.start + second) + draw for second, draw in enumerate(draws)])
        return resized(read_frames(self.manifest, window, draws, side), side, how)

    def read_draws(self, window: Window, draws: Sequence[int]) -> Tensor:
        """Return uint8 [draws, T, 3, H, W], frames at t + n / 16 of each second for each n of `draws`, see `read`."""
        side, how, count = self.settings.resize_to, self.settings.resize, window.seconds
        path = self._cached(window)
        if path is not None:
            places = [CANDIDATES * (window.start + second) + draw for draw in draws for second in range(count)]
            found = read_jpegs(path, places)
        else:
            found = resized(read_draws(self.manifest, window, draws, side).flatten(0, 1), side, how)
        return found.view(len(draws), count, *found.shape[1:])

    def _cached(self, window: Window) -> Path | None:
        """Return the file of a clip's frames, if there is one."""
        path = None if self._cache is None else cached_file(self._cache, window.row)
        return path if path is not None and path.exists() else None

    @cached_property
    def _cache(self) -> Path | None:
        """Return the folder of the cache, if there is one of the recipe's own size."""
        try:
            content = json.loads((self.manifest.folder / INDEX_NAME).read_text(encoding="utf-8"))
            wanted = {"resize_to": self.settings.resize_to, "resize": self.settings.resize}
            fits = all(content[name] == value for name, value in wanted.items())
            return Path(content["folder"]) if fits else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            path = self.manifest.folder / INDEX_NAME
            raise DataError(f"{path}: cannot be read. Prepare the cache again, or remove the file.") from None


def cached_file(folder: Path, row: ManifestRow) -> Path:
    """Return the file of a clip's frames; clips of the same video share it."""
    mark = hashlib.blake2b(row.path.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return folder / mark[:2] / f"{mark}.jpegs"


def write_index(manifest: Manifest, folder: Path, settings: FrameInput) -> None:
    """Note beside the manifest where the frames of its clips are cached."""
    content = {"folder": str(folder.absolute()), "resize_to": settings.resize_to, "resize": settings.resize}
    write_text(manifest.folder / INDEX_NAME, json.dumps(content, indent=2) + "\n")


def cache_frames(source: Path, row: ManifestRow, target: Path, settings: FrameInput) -> int:
    """Write the candidate frames of a clip; return how many bytes they take.

    A file holds a mark, the number of frames, where each begins, and the JPEGs; equal neighbours are stored once.

    Raises:
        MediaError: the clip cannot be decoded. DataError: the disk is full.
    """
    count = CANDIDATES * max(1, int(row.duration + 0.5))
    wanted = indices_at([place / CANDIDATES for place in range(count)], row.fps, max(row.frames, 1))
    needed = set(wanted)
    made: dict[int, bytes] = {}
    last = 0
    for index, (_, frame) in enumerate(iterate_frames(source, short_side=settings.resize_to)):
        last = index
        if index in needed:
            picture = resized(torch.from_numpy(frame)[None], settings.resize_to, settings.resize)[0]
            made[index] = _encoded(picture)
    if not made:
        raise MediaError(f"{source}: none of its frames can be decoded")
    # A header may promise a frame or two more than there are.
    chosen = [index if index in made else max(key for key in made if key <= max(index, last)) for index in wanted]
    order = list(dict.fromkeys(chosen))
    starts = np.cumsum([0, *(len(made[index]) for index in order)]).tolist()
    head = len(MAGIC) + 4 + 16 * count
    places = {index: (head + starts[place], len(made[index])) for place, index in enumerate(order)}
    with replacing(target) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + struct.pack("<I", count))
        file.write(b"".join(struct.pack("<QQ", *places[index]) for index in chosen))
        file.writelines(made[index] for index in order)
    return int(head + starts[-1])


def read_jpegs(path: Path, places: Sequence[int]) -> Tensor:
    """Return frames uint8 [n, 3, H, W] of a clip's file, by their place; past its end the last one repeats.

    Raises:
        MediaError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError("not a file of frames")
            (count,) = struct.unpack("<I", file.read(4))
            table = np.frombuffer(file.read(16 * count), "<u8").reshape(count, 2)
            frames = []
            for place in places:
                start, size = table[min(place, count - 1)].tolist()
                file.seek(start)
                frames.append(_decoded(file.read(size)))
            return torch.stack(frames)
    except (OSError, ValueError, struct.error, RuntimeError, IndexError) as error:
        raise MediaError(f"{path}: damaged frames ({error}). Remove the file and prepare the cache again.") from None


def _encoded(picture: Tensor) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _decoded(content: bytes) -> Tensor:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
        pixels: NDArray[np.uint8] = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)
