"""Masks of a clip whose frames, flow and sound a data set stores, as its evaluation sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.localize.clip_maps import Sound, clip_loudness
from asgmcli.localize.overlay_video import write_with_sound
from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets.frame_plan import PICTURE_AT
from asgmcli.report.table import Cell
from asgmcli.tasks.segmentation.data import open_reader, windows_of
from asgmcli.tasks.segmentation.outputs import tinted
from asgmcli.tasks.segmentation.sounds import embed
from asgmcli.train.task import Prediction

if TYPE_CHECKING:
    from asgmcli.tasks.segmentation.load import TrainedSegmenter

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class StoredMasks:
    """Masks of stored frames: times [T] s, frames uint8 [T, S, S, 3], masks bool [T, S, S]."""

    times: Array
    frames: Array
    masks: Array

    @property
    def pictures(self) -> list[Array]:
        """Return the frames with their masks in colour."""
        return [tinted(frame, mask) for frame, mask in zip(self.frames, self.masks, strict=True)]


def predict_stored(trained: TrainedSegmenter, manifest: Manifest, row: ManifestRow) -> Prediction:
    """Mask the frames of a clip of `manifest`.

    Raises:
        DataError: the data set does not suit the network, or a file of the clip is gone or broken.
    """
    recipe = trained.recipe
    reader = open_reader(recipe, manifest, embed(recipe, manifest))
    rows = reader.frames[row.id]
    parts, images = [], []
    for window in windows_of(rows, recipe.evaluate.frames):
        image, heard = reader.images(window), reader.audio(row.id, window)
        flow = reader.flow(row.id, window)[None].to(trained.device) if recipe.reads_flow else None
        with torch.no_grad():
            logits = trained.network(image[None].to(trained.device), heard[None].to(trained.device), flow).logits
        parts.append(logits[0].float().sigmoid().cpu())
        images.append(image)
    masks = (torch.cat(parts) > recipe.predict.threshold).numpy()
    times = np.array([frame.frame - 1 + PICTURE_AT for frame in rows])
    found = StoredMasks(times, torch.cat(images).permute(0, 2, 3, 1).numpy(), masks)
    shares = [float(mask.mean()) for mask in masks]
    lines: list[list[Cell]] = [[round(t, 3), round(s, 4)] for t, s in zip(times.tolist(), shares, strict=True)]
    audio = manifest.resolve_audio(row)
    sound = None if audio is None or audio.suffix == ".pkl" else audio
    files = {
        "_overlay.mp4": partial(_write_overlay, found=found, audio=sound),
        "_strip.png": partial(_write_strip, found=found, audio=sound, title=row.id, seconds=row.duration),
    }
    return Prediction(found, lines, {"times": times.tolist(), "shares": shares}, files)


def _write_overlay(target: Path, found: StoredMasks, audio: Path | None) -> None:
    """Write the frames, a second each, with the sound."""
    frames: Iterator[Array] = iter(found.pictures)
    if audio is None:
        write_clip(target, frames, 1.0)
    else:
        write_with_sound(target, frames, 1.0, Sound(audio))


def _write_strip(target: Path, found: StoredMasks, audio: Path | None, title: str, seconds: float) -> None:
    from asgmcli.localize.overlay import strip_of_pictures

    level = np.zeros(round(100 * seconds), np.float32) if audio is None else clip_loudness(Sound(audio), seconds)
    shares = [f"{100 * float(mask.mean()):.0f}% sounds" for mask in found.masks]
    heads = [f"{time:.1f} s   {text}" for time, text in zip(found.times, shares, strict=True)]
    strip_of_pictures(found.pictures, heads, found.times.tolist(), level, target, title=f"{title}: what sounds")
