"""Check the disk space that runs need, before the training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from asgmcli.data.decoded import decoded_paths
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.reader import RATE
from asgmcli.errors import DataError
from asgmcli.prepare.source import manifest_path, open_manifest
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.sections import Data
from asgmcli.tasks import DRAWERS, TASKS
from asgmcli.train.cost import KEPT, Decoded
from asgmcli.train.run import run_of

SHOWN = 5
SPARE = 1.02  # for the classifier, logs, tables and pictures
CHANNELS = 3
SAMPLE_BYTES = 2


@dataclass(frozen=True)
class Taken:
    """Bytes that will be written below `folder`, and their purpose."""

    folder: Path
    bytes: int
    what: str


def training_files(recipe: Recipe) -> tuple[int, int]:
    """Return the bytes of a checkpoint and of the final weights of `recipe`; zeros if nothing is trained."""
    trained = recipe.as_trained()
    if trained is None:
        return 0, 0
    task = TASKS[recipe.task]
    with torch.device("meta"):
        network = task.network(recipe, 1)
    weights = _state_bytes(network)
    moved = sum(parameter.nbytes for parameter in network.parameters() if parameter.requires_grad)
    return task.COPIES * weights + KEPT[trained.train.optimizer.kind] * moved, task.COPIES * weights


def _state_bytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def room_for(recipe: Recipe, runs: Path, files: tuple[int, int] | None = None) -> list[Taken]:
    """Return what the run of `recipe` will write, beyond existing files; nothing if it is finished.

    A checkpoint is written beside the one it replaces: for a moment there are two. `files` is the result of
    `training_files`, if known.
    """
    run = run_of(recipe, runs)
    if run.result_path.exists():
        return []
    checkpoint, weights = files or training_files(recipe)
    trained = recipe.as_trained()
    if trained is not None and trained.keeps_best:
        checkpoint += weights
    written = run.state_path.stat().st_size if run.state_path.exists() else 0
    what = f"checkpoint {size(checkpoint)}, twice while one takes the other's place, weights {size(weights)}"
    taken = int(SPARE * (2 * checkpoint + weights)) - written
    found = [Taken(runs, max(0, taken), f"{run.folder}: {what}")]
    kept = None if recipe.task in DRAWERS else TASKS[recipe.task].decoded(recipe)
    if kept is not None:
        data = recipe.data_sets()[0]
        folder = manifest_path(data).parent
        found.append(Taken(folder, decoded_bytes(data, kept), f"decoded clips (data.share_decoded) in {folder}"))
    return [item for item in found if item.bytes]


def decoded_bytes(data: Data, kept: Decoded) -> int:
    """Return the bytes of decoded clips that a run will add to the disk; 0 without a manifest."""
    if not manifest_path(data).exists():
        return 0
    manifest = open_manifest(data)
    splits = set(data.splits())
    rows = [row for row in manifest.rows if row.split in splits and (row.audio or not kept.sound)]
    return sum(_missing(manifest, rows, kept.short_side, kept.waves))


def _missing(manifest: Manifest, rows: Sequence[ManifestRow], limit: int, heard: bool) -> Iterator[int]:
    for row in rows:
        short = min(row.width, row.height)
        scale = min(1.0, limit / short) if short else 0.0
        frames, wave = decoded_paths(manifest, row, limit)
        if not frames.exists():
            yield round(row.frames * row.width * row.height * scale**2) * CHANNELS
        if heard and row.audio and not wave.exists():
            yield round(row.duration * RATE) * SAMPLE_BYTES


def check_room(recipes: Sequence[Recipe], runs: Path) -> None:
    """Check that the disks have room for what the runs of `recipes` will write.

    Raises:
        DataError: one has not; the message gives the figures.
    """
    if faults := lacking([item for recipe in recipes for item in room_for(recipe, runs)]):
        raise DataError("\n".join(faults))


def lacking(taken: Sequence[Taken]) -> list[str]:
    """Return a line for each disk with less room than the sum of what is `taken` on it."""
    disks: dict[int, list[Taken]] = {}
    for item in taken:
        disks.setdefault(os.stat(_standing(item.folder)).st_dev, []).append(item)
    faults = []
    for items in disks.values():
        needed = sum(item.bytes for item in items)
        free = shutil.disk_usage(_standing(items[0].folder)).free
        if needed > free:
            more = f"\n  and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
            listed = "\n  ".join(item.what for item in items[:SHOWN])
            faults.append(
                f"{items[0].folder}: too little room on its disk. The training writes about {size(needed)}, "
                f"{size(free)} are free:\n  {listed}{more}\nMake room, or name another place with --runs."
            )
    return faults


def _standing(folder: Path) -> Path:
    """Return `folder`, or its nearest existing parent."""
    return next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path("/"))


def size(count: int) -> str:
    """Return bytes as a person reads them: `512 MB`, `3.5 GB`."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
