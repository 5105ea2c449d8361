"""A smaller, faster copy of a data set: short side 256, a key frame every 8 frames, sound as int16 at 16 kHz."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asgmcli.data.manifest import ManifestRow
from asgmcli.errors import DataError
from asgmcli.files import replacing
from asgmcli.media.audio import CACHE_RATE, read_audio
from asgmcli.media.probe import probe
from asgmcli.media.video import iterate_frames
from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets.listing import LeftOut
from asgmcli.prepare.selection import SHORT, Outcome, Progress, relative
from asgmcli.prepare.verify import Facts, Fault
from asgmcli.workers import Failure, run_tasks

SHORT_SIDE = 256  # pixels; smaller clips keep their size
GOP = 8  # frames from one key frame to the next: what a reader decodes for one frame at most
CRF = 23
TUNE = "fastdecode"
VERSION = 1  # of the cached form: raised with any change of it
# Measured with these settings on clips of the usual size; for the estimate of the copy's size.
BYTES_A_PIXEL = 0.025
AUDIO_BYTES_A_SECOND = 2 * CACHE_RATE


@dataclass(frozen=True, slots=True)
class CacheTask:
    """A clip to copy: `video` and `sound` are its files in the cache, `audio` where its sound is now ("": none)."""

    id: str
    path: str
    audio: str
    fps: float
    frames: int
    video: str
    sound: str


def cache_all(
    folder: Path, outcome: Outcome, out: Path, workers: int, limit_s: float, progress: Progress | None = None
) -> Outcome:
    """Copy every row's clip into `folder` and point the rows there; what is there already is checked, not rewritten.
    Single pictures stay where they are: they are as quick to read.

    Clips that cannot be copied are left out as `cache_failed` and count as broken.
    """
    tasks = {row.id: cache_task(folder, row, out) for row in outcome.rows if row.frames > 1}
    answers: dict[str, Facts | Fault] = {}
    if progress is not None:
        progress(0, len(tasks))
    for done, (task, answer) in enumerate(run_tasks(cache_clip, tasks.values(), workers, limit_s), start=1):
        answers[task.id] = Fault(answer.reason, answer.detail) if isinstance(answer, Failure) else answer
        if progress is not None:
            progress(done, len(tasks))
    rows: list[ManifestRow] = []
    left_out = list(outcome.left_out)
    for row in outcome.rows:
        if row.id not in tasks:
            rows.append(row)
            continue
        facts = answers[row.id]
        if isinstance(facts, Fault):
            left_out.append(LeftOut(row.id, str(out / row.path), "cache_failed", f"{facts.reason}: {facts.detail}"))
            continue
        task = tasks[row.id]
        rows.append(
            replace(
                row,
                path=relative(Path(task.video), out),
                audio=relative(Path(task.sound), out) if task.audio else "",
                duration=row.duration if SHORT in row.note.split("; ") else facts.duration,
                frames=facts.frames,
                width=facts.width,
                height=facts.height,
            )
        )
    left_out.sort(key=lambda entry: (entry.id, entry.path, entry.reason))
    return Outcome(rows, left_out, outcome.bad + len(outcome.rows) - len(rows), outcome.looked_at)


def estimate(folder: Path, outcome: Outcome, out: Path) -> tuple[int, int]:
    """Return (clips still to be copied, the bytes they will take, roughly)."""
    todo, size = 0, 0.0
    for row in outcome.rows:
        if row.frames > 1 and not os.path.exists(cache_task(folder, row, out).video):
            scale = min(1.0, SHORT_SIDE / max(min(row.width, row.height), 1))
            pixels = row.width * row.height * scale**2
            size += pixels * row.frames * BYTES_A_PIXEL + (row.duration * AUDIO_BYTES_A_SECOND if row.audio else 0)
            todo += 1
    return todo, round(size)


def see_room(folder: Path, todo: int, size: int) -> str:
    """Return one line on the room the copy takes and the room there is.

    Raises:
        DataError: it will not fit, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise DataError(f"The cache {folder} cannot be made ({error.strerror}); name another with --cache.") from None
    text = f"cache {folder}: {todo} clips to copy, about {_room(size)}; {_room(free)} free"
    if size > free:
        raise DataError(f"{text}. Make room, or name another folder with --cache.")
    return text


def _room(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def cache_task(folder: Path, row: ManifestRow, out: Path) -> CacheTask:
    """Return where a row's copy lies; id and state of the files are in its name, so changed files are copied anew."""
    path, audio = out / row.path, out / row.audio if row.audio else None
    parts: list[object] = [VERSION, row.id]
    for file in (path, audio):
        if file is not None:
            stat = file.stat() if file.exists() else None
            parts += [os.path.abspath(file), stat and stat.st_size, stat and stat.st_mtime_ns]
    mark = hashlib.blake2b(repr(parts).encode(errors="surrogateescape"), digest_size=6).hexdigest()
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", row.id)[-80:]
    stem = os.path.abspath(folder / mark[:2] / f"{safe}.{mark}")
    source = "" if audio is None else os.path.abspath(audio)
    return CacheTask(row.id, os.path.abspath(path), source, row.fps, row.frames, f"{stem}.mp4", f"{stem}.npy")


def cache_clip(task: CacheTask) -> Facts | Fault:
    """Copy one clip, or check the copy that is there; the picture is written last, so that its file means done."""
    try:
        if os.path.exists(task.video) and (not task.audio or os.path.exists(task.sound)):
            return _check(task, None)
        Path(task.video).parent.mkdir(parents=True, exist_ok=True)
        if task.audio:
            _write_sound(Path(task.sound), read_audio(task.audio, CACHE_RATE))
        counted = 0

        def frames() -> Iterator[np.ndarray]:
            nonlocal counted
            for _, frame in iterate_frames(task.path, short_side=SHORT_SIDE):
                counted += 1
                yield frame

        write_clip(task.video, frames(), task.fps, crf=CRF, gop=GOP, bframes=False, tune=TUNE)
        return _check(task, counted)
    except DataError as error:
        return Fault("unreadable", error.message)
    except (OSError, ValueError) as error:
        return Fault("error", str(error))


def _check(task: CacheTask, written: int | None) -> Facts | Fault:
    """Return the copy's facts if it holds all the frames that were written and readable sound, else a fault."""
    info = probe(task.video)
    if written is not None and info.frames != written:
        os.unlink(task.video)
        return Fault("error", f"the copy has {info.frames} of {written} frames")
    if task.audio:
        read_audio(task.sound, CACHE_RATE, 0.0, 0.0)
    return Facts(info.duration, info.fps, info.frames, info.width, info.height, bool(task.audio), None, "")


def _write_sound(target: Path, wave: np.ndarray) -> None:
    """Write float [S] as int16 .npy atomically."""
    samples = np.clip(np.round(wave * 32768), -32768, 32767).astype(np.int16)
    with replacing(target, samples.nbytes) as temporary:
        np.save(temporary, samples)
