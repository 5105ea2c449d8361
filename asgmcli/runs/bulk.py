"""A trained network asked about many clips: several at once, in processes that read ahead and may crash."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from asgmcli.errors import AsgmError, MediaError, UsageError
from asgmcli.options import refuse_to_replace
from asgmcli.prepare.single import MediaFile
from asgmcli.ranks.device import choose_device
from asgmcli.report.table import Cell
from asgmcli.runs.target import Found, find_trained
from asgmcli.train.cores import on_cores
from asgmcli.train.task import AnswersTogether, Prediction, Trained
from asgmcli.workers import Failure, cores, run_tasks

TOGETHER = 8
"""Clips that a process takes at once where the network does not say how many are worth it."""
LIMIT_S = 600.0
"""Seconds that a clip may take by default."""
AHEAD = 4
"""Times `workers` that pieces of work may be begun and not yet given out."""


GPU_WORKERS = 8
"""Most processes by default where there is a GPU."""


@dataclass(frozen=True)
class Asked:
    """The network: a run or a weight file, the device, changes of how it answers, others' weight files."""

    target: Path
    device: str = "auto"
    changes: tuple[str, ...] = ()
    weights: tuple[tuple[str, Path], ...] = ()


@lru_cache(maxsize=1)
def trained_of(asked: Asked) -> tuple[Trained, Found]:
    """Return the network, which a process loads once, and where it was found.

    Raises:
        AsgmError: it cannot be loaded.
    """
    found = find_trained(asked.target)
    return found.load(choose_device(asked.device), asked.changes, dict(asked.weights)), found


@dataclass(frozen=True)
class Told:
    """The network's answer for a clip, or why there is none.

    Attributes:
        clip: the clip.
        rows: lines of a CSV file under the network's `columns`.
        data: the answer as JSON, with the `files` written of it.
        answer: what `asgmcli.load(run).predict` returns; None unless it is asked for.
        error: why the clip could not be read, "" if it was.
        lasting: the clip's own fault: the same would be said again.
    """

    clip: MediaFile
    rows: list[list[Cell]] = field(default_factory=list)
    data: dict[str, object] = field(default_factory=dict)
    answer: Any = None
    error: str = ""
    lasting: bool = True


@dataclass(frozen=True)
class Keep:
    """The names of the files of a clip's answer: `stem` and the task's ending."""

    stem: Path
    overwrite: bool

    def write(self, files: Mapping[str, Callable[[Path], object]]) -> list[str]:
        """Write them; return their paths.

        Raises:
            UsageError: one is there already.
        """
        targets = {ending: self.stem.with_name(f"{self.stem.name}{ending}") for ending in files}
        refuse_to_replace(targets.values(), self.overwrite, "name another folder with --files")
        for ending, path in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            files[ending](path)
        return [str(path) for path in targets.values()]


@dataclass(frozen=True)
class Bulk:
    """The way in which many clips are asked about.

    Attributes:
        asked: the network.
        workers: processes; 0 answers in this one, where a clip that crashes its reader ends all.
        together: clips that a process takes at once; None: as many as the network says.
        limit_s: seconds that a clip may take in a process.
        keep: names the files of a clip's answer; None writes none.
        whole: return `Told.answer`.
        patience_s: seconds in which this process answers before others are started, which takes a few.
    """

    asked: Asked
    workers: int
    together: int | None = None
    limit_s: float = LIMIT_S
    keep: Callable[[MediaFile], Keep] | None = None
    whole: bool = False
    patience_s: float = 0.0

    def ask(self, clips: Iterable[MediaFile], trained: Trained | None = None) -> Iterator[Told]:
        """Yield what the network says of each clip, in their order, in memory that does not grow with their number.

        Args:
            clips: taken as they are needed.
            trained: the network, where it is loaded here already; used without workers, and to say how many at once.

        Raises:
            AsgmError: the network cannot be loaded, or answers no clip.
        """
        together = self.together or together_of(trained)
        pieces = self._pieces(iter(clips), together)
        until = time.monotonic() + self.patience_s if self.workers else math.inf
        while time.monotonic() < until:
            piece = next(pieces, None)
            if piece is None:
                return
            yield from told_by(trained or trained_of(self.asked)[0], piece)
        limit = self.limit_s * together
        for piece, found in run_tasks(answer_piece, pieces, self.workers, limit, ahead=AHEAD * self.workers):
            if isinstance(found, AsgmError):
                raise found
            yield from self._again(piece) if isinstance(found, Failure) else found

    def _pieces(self, clips: Iterator[MediaFile], together: int) -> Iterator[Piece]:
        threads = max(1, cores() // max(self.workers, 1))
        while chosen := tuple(islice(clips, together)):
            keeps = tuple(None if self.keep is None else self.keep(clip) for clip in chosen)
            yield Piece(self.asked, chosen, keeps, self.whole, threads)

    def _again(self, piece: Piece) -> Iterator[Told]:
        """Ask about each clip of a piece by itself: one of them ended or hung the process."""
        alone = (Piece(piece.asked, (clip,), (keep,), piece.whole, piece.threads) for clip, keep in piece.pairs)
        for one, found in run_tasks(answer_piece, alone, 1, self.limit_s, ahead=1):
            if isinstance(found, AsgmError):
                raise found
            if isinstance(found, Failure):
                yield Told(one.clips[0], error=f"{one.clips[0].path}: {found.detail}", lasting=False)
            else:
                yield from found


@dataclass(frozen=True)
class Piece:
    """Clips that are answered together, how their answers' files are named, and the cores to use."""

    asked: Asked
    clips: tuple[MediaFile, ...]
    keeps: tuple[Keep | None, ...]
    whole: bool
    threads: int

    @property
    def pairs(self) -> Iterator[tuple[MediaFile, Keep | None]]:
        """Return clips and names of files side by side."""
        return zip(self.clips, self.keeps, strict=True)


def together_of(trained: Trained | None) -> int:
    """Return how many clips a process takes at once by default."""
    return trained.together if isinstance(trained, AnswersTogether) else TOGETHER


def answer_piece(piece: Piece) -> list[Told] | AsgmError:
    """Answer a piece of work in this process; return an error that is not a clip's instead of raising it."""
    with on_cores(piece.threads):
        try:
            return told_by(trained_of(piece.asked)[0], piece)
        except AsgmError as error:
            return error


@torch.no_grad()
def told_by(trained: Trained, piece: Piece) -> list[Told]:
    """Return what a network says of each clip of a piece, several at once where it can.

    Raises:
        AsgmError: what is wrong is not a clip.
    """
    if isinstance(trained, AnswersTogether):
        found = trained.predict_many([(clip.path, clip.audio) for clip in piece.clips])
    else:
        found = [_answer(trained, clip) for clip in piece.clips]
    return [
        Told(clip, error=one.message) if isinstance(one, MediaError) else _told(clip, one, keep, piece.whole)
        for (clip, keep), one in zip(piece.pairs, found, strict=True)
    ]


def _answer(trained: Trained, clip: MediaFile) -> Prediction | MediaError:
    try:
        return trained.predict(clip.path, clip.audio)
    except MediaError as error:
        return error


def _told(clip: MediaFile, found: Prediction, keep: Keep | None, whole: bool) -> Told:
    data = found.data
    if keep is not None:
        if not found.files:
            raise UsageError("--files: answers of this task have no files.")
        data = {**data, "files": keep.write(found.files)}
    return Told(clip, found.rows, data, found.answer if whole else None)


def default_workers() -> int:
    """Return as many processes as there are cores; on a GPU few, since each has the network in memory."""
    return min(cores(), GPU_WORKERS) if torch.cuda.is_available() else cores()
