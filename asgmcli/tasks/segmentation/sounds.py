"""Sounds that the network hears: a vector a frame, computed once a data set and kept in the feature store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from asgmcli.console import make_console, progress_bar
from asgmcli.data.features import (
    Features,
    FeatureWriter,
    Origin,
    features_folder,
    has_features,
    hash_file,
    open_features,
)
from asgmcli.data.frames import FrameRow, read_frames
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.pickled import read_logmel
from asgmcli.errors import DataError
from asgmcli.media.audio import read_audio
from asgmcli.media.vggish_mel import BANDS, PATCH, RATE, vggish_patches
from asgmcli.nn.vggish import VGGish, embed_patches, load_vggish
from asgmcli.nn.weights import WEIGHTS_FOLDER
from asgmcli.prepare.source import open_manifest
from asgmcli.recipe.segmentation import SegmentationAudio, SegmentationRecipe

VGGISH_FILES = ("vggish-10086976.pth", "vggish.safetensors", "vggish.pth")
VGGISH_DIM = 128
EAR_DIM = 3 * BANDS
_EAR_VERSION = "ear-1"
_CLIPS = 16  # whose embeddings are written at once


def audio_dim(settings: SegmentationAudio) -> int:
    """Return A, the length of a second's vector."""
    return EAR_DIM if settings.kind == "ear" else VGGISH_DIM


def ear(patches: Tensor) -> Tensor:
    """Return float32 [N, 192] of log-mel patches [N, 96, 64]: mean, deviation and mean step of every band.

    The mean over bands is taken out of the first, so that loudness does not tell.
    """
    mean = patches.mean(dim=1)
    step = patches.diff(dim=1).abs().mean(dim=1)
    return torch.cat([mean - mean.mean(dim=1, keepdim=True), patches.std(dim=1), step], dim=1)


def vggish_file(settings: SegmentationAudio) -> Path:
    """Return VGGish's weight file.

    Raises:
        DataError: there is none; where to put it is told.
    """
    if settings.init is not None:
        found = Path(settings.init.file)
        if not found.is_file():
            raise DataError(f"{found}: no such weight file (audio.init)")
        return found
    places = [Path(WEIGHTS_FOLDER) / name for name in VGGISH_FILES]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"No weights of VGGish: put the released file at {places[0]}, or name it: --set audio.init.file=FILE (asgm "
        "predict, asgm eval: --weights vggish=FILE)."
    )


def load_listener(settings: SegmentationAudio, device: torch.device, file: Path | None = None) -> VGGish:
    """Return VGGish in evaluation mode, from `file` or where `vggish_file` finds it.

    Raises:
        DataError: no such file, or not VGGish's.
    """
    net = VGGish(last_relu=settings.last_relu)
    load_vggish(net, file or vggish_file(settings))
    return net.requires_grad_(False).eval().to(device)


def clip_patches(manifest: Manifest, row: ManifestRow, frames: Sequence[FrameRow]) -> Tensor:
    """Return the log-mel patches [n, 96, 64] of a clip's frames: frame k hears window k of 0.96 s, from 1.

    Where the sound is shorter, its last window stands for those behind it.

    Raises:
        DataError: the clip has no sound, or its file cannot be read.
    """
    path = manifest.resolve_audio(row)
    if path is None:
        raise DataError(f"{manifest.path}: clip {row.id!r} has no sound. Take it out, or set audio.kind=none.")
    if path.suffix == ".pkl":
        patches = read_logmel(path)
    else:
        wave = read_audio(path, RATE)
        patches = vggish_patches(np.pad(wave, (0, max(0, PATCH - len(wave)))))
    return patches[[min(max(frame.frame - 1, 0), len(patches) - 1) for frame in frames]]


def store_name(settings: SegmentationAudio) -> str:
    """Return the name of the store."""
    return f"audio_{settings.kind}"


def origin_of(recipe: SegmentationRecipe, manifest: Manifest) -> Origin:
    """Return what the embeddings are made from.

    Raises:
        DataError: VGGish's weights are missing.
    """
    if recipe.audio.kind == "ear":
        return Origin(manifest.sha256, _EAR_VERSION)
    settings = {"windows": 0.96, "last_relu": recipe.audio.last_relu}
    return Origin(manifest.sha256, hash_file(vggish_file(recipe.audio)), settings)


def before(recipe: SegmentationRecipe, console: Console) -> None:
    """Compute the embeddings of every frame's sound, unless they are there; a stopped one goes on.

    Raises:
        DataError: no manifest, no weights, or a clip without sound.
    """
    if recipe.audio.kind == "none":
        return
    manifest = open_manifest(recipe.data)
    embed(recipe, manifest, console)


def embed(recipe: SegmentationRecipe, manifest: Manifest, console: Console | None = None) -> Features | None:
    """Return the embeddings of a manifest's frames, computed where they are missing; None where nothing is heard.

    Raises:
        DataError: no weights, or a clip without sound.
    """
    settings = recipe.audio
    if settings.kind == "none":
        return None
    origin, folder, name = origin_of(recipe, manifest), features_folder(manifest.folder), store_name(settings)
    if not has_features(folder, name, origin):
        frames = read_frames(manifest)
        listener = None if settings.kind == "ear" else load_listener(settings, torch.device("cpu"))
        counts = {row.id: len(frames[row.id]) for row in manifest.rows}
        rows = {row.id: row for row in manifest.rows}
        with FeatureWriter(folder, name, origin, counts, (audio_dim(settings),)) as writer:
            todo = writer.missing
            with progress_bar(console or make_console(quiet=True), transient=True) as progress:
                task = progress.add_task(f"{settings.kind} embeddings", total=len(todo))
                for start in range(0, len(todo), _CLIPS):
                    part = todo[start : start + _CLIPS]
                    found = [clip_patches(manifest, rows[clip], frames[clip]) for clip in part]
                    writer.write(
                        (clip, hear(patches, listener).numpy()) for clip, patches in zip(part, found, strict=True)
                    )
                    progress.advance(task, len(part))
    return open_features(folder, name, origin).loaded()


def hear(patches: Tensor, listener: VGGish | None) -> Tensor:
    """Return float32 [n, A] of patches [n, 96, 64]: VGGish's embeddings, or the ear's where there is no listener."""
    return ear(patches) if listener is None else embed_patches(listener, patches)
