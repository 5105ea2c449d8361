"""The cache of frames: 16 a second of every clip as JPEGs, which training on frames drawn anew reads at random."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from asgmcli.data.frame_cache import cache_frames, cached_file, write_index
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError, MediaError
from asgmcli.recipe.events import FrameInput
from asgmcli.workers import run_tasks

BYTES_A_SECOND = 16 * 20_000  # of frames of 256x256, roughly
NEWS = 200  # clips between two lines
LIMIT_S = 1800.0  # for a clip


def cache_manifest(manifest: Manifest, folder: Path, say: Callable[[str], None], workers: int = 1) -> None:
    """Cache the frames of every clip that has none there, and note the folder beside the manifest.

    Raises:
        MediaError: a clip cannot be decoded. DataError: the disk has too little room.
    """
    settings = FrameInput()
    missing = {cached_file(folder, row): row for row in manifest.rows if not cached_file(folder, row).exists()}
    size = round(sum(row.duration for row in missing.values()) * BYTES_A_SECOND)
    os.makedirs(folder, exist_ok=True)
    free = shutil.disk_usage(folder).free
    text = f"cache {folder}: frames of {len(missing)} clips, about {size / 1e9:.1f} GB; {free / 1e9:.1f} GB free"
    if size > free:
        raise DataError(f"{text}. Make room, or name another folder with --cache.")
    say(text)
    tasks = ((manifest.resolve(row), row, path) for path, row in missing.items())
    for done, ((video, _, _), failed) in enumerate(
        run_tasks(partial(_cache_one, settings), tasks, workers, LIMIT_S), start=1
    ):
        if failed is not None:
            raise MediaError(f"{video}: {failed.detail}")
        if done % NEWS == 0:
            say(f"frames: {done} of {len(missing)} clips")
    write_index(manifest, folder, settings)


def _cache_one(settings: FrameInput, clip: tuple[Path, ManifestRow, Path]) -> None:
    cache_frames(*clip, settings)
