"""Features of frozen networks for every window of a data set, computed once into the store."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import Dataset

from asgmcli.console import progress_bar
from asgmcli.data.features import Features, FeatureWriter, Origin, features_folder, made_once
from asgmcli.data.frame_cache import FrameReader
from asgmcli.data.loader import make_loader
from asgmcli.data.manifest import ManifestRow
from asgmcli.data.windows import (
    CANDIDATES,
    MIDDLE,
    Window,
    WindowSet,
    centre,
    read_patches,
)
from asgmcli.errors import MediaError
from asgmcli.recipe.events import AudioNet, FrameInput
from asgmcli.workers import Failure, is_spread, run_tasks

T = TypeVar("T")
WRITTEN_AT_ONCE, WRITTEN_AFTER_S = 16, 5.0
"""Clips, or seconds, between two flushes to the disk: what a killed extraction loses."""
LIMIT_S, AHEAD = 1800.0, 256
"""Seconds that another machine's core may take for a clip, and how many clips may be begun and not yet written."""
FORWARD_AT_ONCE = 64  # frames or patches that go through a network together, roughly


def draws_of(count: int) -> list[int]:
    """Return `count` of a second's 16 candidate times, spread evenly; one is the middle."""
    return [int((place + 0.5) * CANDIDATES / count) for place in range(count)]


@dataclass
class SoundClips(Dataset[Tensor]):
    """Log-mel patches of whole clips, [windows * T, 1, 96, 64]."""

    windows: WindowSet
    settings: AudioNet
    together: int = 1

    def __getitem__(self, row: ManifestRow) -> Tensor:
        """Return the patches of all windows of a clip."""
        parts = [read_patches(self.windows.manifest, window, self.settings.hop) for window in self.windows.of(row)]
        return torch.cat(parts)[:, None]


@dataclass
class FrameClips(Dataset[Tensor]):
    """Frames of whole clips, uint8 [windows * T * draws, 3, S, S]."""

    windows: WindowSet
    settings: FrameInput
    draws: Sequence[int] = (MIDDLE,)

    @property
    def together(self) -> int:
        """Return the frames of a segment, which stand side by side."""
        return len(self.draws)

    def __getitem__(self, row: ManifestRow) -> Tensor:
        """Return the frames of all windows of a clip, the draws of a segment side by side."""
        return torch.cat([self._window(window) for window in self.windows.of(row)])

    def _window(self, window: Window) -> Tensor:
        frames = FrameReader(self.windows.manifest, self.settings).read_draws(window, self.draws)
        return centre(frames, self.settings.size).transpose(0, 1).flatten(0, 1)


@dataclass(frozen=True)
class Extraction:
    """A kind of feature to be in the store.

    Attributes:
        name: of the store, before what tells it from others of its kind.
        clips: what the network is given of each clip.
        network: frozen; None where it is built by `build` once it is needed.
        shape: of a window's features, [T, ...].
        weights: what tells the network's weights, see `Origin`.
        settings: everything else that affects the numbers.
        tagged: put a mark of the origin behind the name, so that others of the kind stay.
    """

    name: str
    clips: SoundClips | FrameClips
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    weights: str
    settings: dict[str, object]
    tagged: bool = True

    @property
    def windows(self) -> WindowSet:
        """Return the clips and their windows."""
        return self.clips.windows

    @property
    def folder(self) -> Path:
        """Return the folder of the store."""
        return features_folder(self.windows.manifest.folder)

    @property
    def origin(self) -> Origin:
        """Return what the features are computed from."""
        counted = sum(self.windows.clips.values())
        settings = {**self.settings, "seconds": self.windows.seconds, "windows": counted}
        return Origin(self.windows.manifest.sha256, self.weights, settings)

    @property
    def store(self) -> str:
        """Return the store's name."""
        if not self.tagged:
            return self.name
        text = json.dumps(self.origin.as_json(), sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def ensure_features(wanted: Extraction, device: torch.device, workers: int, console: Console | None) -> Features:
    """Return the store, after computing what it lacks; a killed extraction goes on where it was.

    Processes that want the same store wait for the first.

    Raises:
        MediaError: a clip cannot be decoded. DataError: the disk is full.
    """
    make = partial(_extract, wanted, device, workers, console)
    return made_once(wanted.folder, [wanted.store], wanted.origin, make)[0]


def _extract(wanted: Extraction, device: torch.device, workers: int, console: Console | None) -> None:
    rows = {row.id: row for row in wanted.windows.manifest.rows}
    with FeatureWriter(wanted.folder, wanted.store, wanted.origin, wanted.windows.clips, wanted.shape) as writer:
        missing = [rows[name] for name in writer.missing]
        if console is not None:
            done = len(rows) - len(missing)
            begun = f", {done} are there" if done else ""
            console.print(f"{writer.path}: features of {len(rows)} clips{begun} (once).")
        waiting: list[tuple[str, NDArray[np.float16]]] = []
        written = time.monotonic()
        with _progress(console, len(missing)) as advance:
            for row, features in zip(missing, _made(wanted, missing, device, workers), strict=True):
                waiting.append((row.id, features.half().reshape(-1, *wanted.shape).numpy()))
                if len(waiting) == WRITTEN_AT_ONCE or time.monotonic() - written > WRITTEN_AFTER_S:
                    writer.write(waiting)
                    waiting, written = [], time.monotonic()
                advance()
        if waiting:
            writer.write(waiting)


def _made(wanted: Extraction, rows: Sequence[ManifestRow], device: torch.device, workers: int) -> Iterator[Tensor]:
    """Yield the features of each clip, from this process or, where work is spread, from other machines' cores."""
    if not is_spread():
        network = wanted.build().to(device).eval()
        for inputs in _read(wanted.clips, rows, workers):
            yield forward(network, inputs, device, wanted.clips.together)
        return
    for row, found in run_tasks(partial(features_of, wanted), rows, workers, LIMIT_S, ahead=AHEAD):
        if isinstance(found, Failure):
            raise MediaError(f"{wanted.windows.manifest.resolve(row)}: {found.detail}")
        yield torch.tensor(found)  # what came from there cannot be written to


_BUILT: dict[str, nn.Module] = {}
"""The network of the last store that this process made features for."""


def features_of(wanted: Extraction, row: ManifestRow) -> NDArray[np.float32]:
    """Return a clip's features [windows * T, ...]; the network is built once a process."""
    if wanted.store not in _BUILT:
        _BUILT.clear()
        _BUILT[wanted.store] = wanted.build().eval()
    return forward(_BUILT[wanted.store], wanted.clips[row], torch.device("cpu"), wanted.clips.together).numpy()


@torch.no_grad()
def forward(network: nn.Module, inputs: Tensor, device: torch.device, together: int = 1) -> Tensor:
    """Return the network's float32 answers for inputs [n, ...] on the CPU, some at a time.

    Args:
        network: in evaluation mode.
        inputs: frames or patches.
        device: of the network.
        together: inputs side by side that must not be parted.
    """
    size = together * max(1, FORWARD_AT_ONCE // together)
    return torch.cat([network(part.to(device)).float().cpu() for part in inputs.split(size)])


def _read(clips: Dataset[Tensor], rows: Sequence[ManifestRow], workers: int) -> Iterator[Tensor]:
    """Yield what the network is given of each clip, the next one read while it is used."""
    return make_loader(clips, [[row] for row in rows], workers, _first)


def _first(samples: list[T]) -> T:
    return samples[0]


@contextmanager
def _progress(console: Console | None, total: int) -> Iterator[Callable[[], None]]:
    if console is None:
        yield lambda: None
        return
    with progress_bar(console, transient=True) as bar:
        task = bar.add_task("features", total=total)
        yield lambda: bar.advance(task)
