"""Measure the loader's processor time, on files like those of the data sets, beside decord and ffmpeg."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from asgmcli.bench import rivals
from asgmcli.bench.footage import KINETICS, LARGE, UCF, Kind, make_original
from asgmcli.data.manifest import MANIFEST_NAME, Manifest, ManifestRow, read_manifest, write_manifest
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.data.plan import SampleKey, generator
from asgmcli.data.reader import RATE, ClipReader, Moment
from asgmcli.errors import DataError
from asgmcli.media.audio import read_audio
from asgmcli.media.clips import audio_window, random_start
from asgmcli.media.probe import probe
from asgmcli.media.video import fitted_size, read_clip
from asgmcli.prepare.cache import cache_clip, cache_task
from asgmcli.prepare.verify import Facts, Fault, FileCheck, examine
from asgmcli.recipe.clips import Audio, Augment, Clip
from asgmcli.report.table import Cell, Table
from asgmcli.report.timing import Timing, interleaved
from asgmcli.tasks.recognition.views import UNLABELED, TrainViews

TITLE = "Loading, milliseconds of a core"
KINDS = (KINETICS, LARGE, UCF)
CLIP, AUDIO = Clip(), Audio()  # the paper's: 8 frames, stride 8, 224 pixels; 4 s of sound
ROWS = 240_000  # Kinetics-400
OPENS = 2_000
OPENS_BEFORE = 200  # so that one-time allocations are done
MANIFEST_READS = 3


@dataclass(frozen=True)
class Goal:
    """A target for the loader: `found` of `unit`, at least or at most `wanted`."""

    name: str
    file: str
    found: float
    unit: str
    wanted: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Return True if the goal is met."""
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted

    def data(self) -> dict[str, object]:
        """Return the goal as JSON data."""
        return {**asdict(self), "found": float(f"{self.found:.4g}"), "met": self.met}


@dataclass(frozen=True)
class Original:
    """A generated file: its row, and the row of its copy in the cache."""

    kind: Kind
    row: ManifestRow
    cached: ManifestRow


def measure(
    repeats: int, *, kinds: Sequence[Kind] = KINDS, rows: int = ROWS, opens: int = OPENS
) -> tuple[list[Timing], list[Goal]]:
    """Time the loader's work on one thread; files are made in a temporary folder first.

    Args:
        repeats: rounds of each work.
        kinds: of file; the first is the one that is augmented.
        rows: of the manifest that is read.
        opens: files opened for the memory it leaves behind.

    Raises:
        DataError: a file that was made cannot be read as it should.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="asgm-bench-") as name:
            folder = Path(name)
            originals = [_make(folder, kind) for kind in kinds]
            manifest = Manifest(folder, [part.row for part in originals], ["made"], folder / MANIFEST_NAME, "")
            timings: list[Timing] = []
            goals: list[Goal] = []
            for part in originals:
                found = {timing.name: timing for timing in _samples(manifest, part, repeats)}
                timings += [Timing(f"{name}, {part.kind.name}", found[name].milliseconds) for name in found]
                goals += _sample_goals(found, part.kind)
            (views,) = interleaved({"views": _views(manifest, originals[0].row)}, repeats)
            timings.append(Timing(f"weak + strong view + log-mel, {kinds[0].name}", views.milliseconds))
            goals.append(Goal("weak + strong view + log-mel, 224 pixels", kinds[0].name, views.median, "ms", 25, False))
            (reading,) = interleaved({"rows": _manifest_of(folder / "large", rows)}, MANIFEST_READS)
            timings.append(Timing(f"manifest of {rows} rows", reading.milliseconds))
            goals.append(Goal(f"manifest of {rows} rows", "", reading.median / 1000, "s", 2, False))
            left = memory_an_open([manifest.resolve(part.row) for part in originals], opens)
            goals.append(Goal(f"memory a file opened, {opens} opens", "", left, "KB", 10, False))
            return timings, goals
    finally:
        torch.set_num_threads(threads)


def table(goals: Sequence[Goal], note: str = "") -> Table:
    """Return a table with one line a goal."""
    lines: list[list[Cell]] = []
    for goal in goals:
        wanted = f"{'at least' if goal.at_least else 'at most'} {goal.wanted:g}"
        lines.append(
            [goal.name, goal.file, f"{goal.found:.3g} {goal.unit}".strip(), wanted, "yes" if goal.met else "NO"]
        )
    return Table(TITLE, ["what", "file", "found", "goal", "met"], lines, note)


def _make(folder: Path, kind: Kind) -> Original:
    name = kind.name.replace(" ", "_")
    path = make_original(folder / f"{name}{kind.suffix}", kind)
    facts = examine(FileCheck(name, str(path), "", listen=False, decode=True))
    if isinstance(facts, Fault):
        raise DataError(f"The generated {kind.name} file does not play: {facts.detail}")
    row = _row(name, path.name, facts, path.name)
    task = cache_task(folder / "cache", row, folder)
    copy = cache_clip(task)
    if isinstance(copy, Fault):
        raise DataError(f"The generated {kind.name} file cannot be cached: {copy.detail}")
    return Original(kind, row, _row(f"{name}_cached", task.video, copy, task.sound))


def _row(name: str, path: str, facts: Facts, audio: str) -> ManifestRow:
    numbers = (facts.duration, facts.fps, facts.frames, facts.width, facts.height)
    return ManifestRow(name, path, "made", "train", *numbers, audio if facts.sound else "", "")


def _samples(manifest: Manifest, part: Original, repeats: int) -> list[Timing]:
    """Compare everything on one kind of file, in turns; each round takes the clip at another place."""
    reader = ClipReader(manifest, CLIP, AUDIO)
    path = manifest.resolve(part.row)
    size = fitted_size(part.row.width, part.row.height, CLIP.short_side[1])

    def moment(row: ManifestRow, number: int) -> Moment:
        uniform = float(generator(0, "bench", number).random())
        return reader.moment(row, random_start(row.frames, CLIP.frames, CLIP.stride, uniform))

    def sample(row: ManifestRow, number: int) -> None:
        at = moment(row, number)
        reader.frames(at)
        reader.wave(at, AUDIO.seconds)

    def whole(number: int) -> None:
        reader.frames(moment(part.row, number))
        read_audio(path, RATE)

    def by_decord(number: int) -> None:
        indices = moment(part.row, number).indices
        start = audio_window(indices, part.row.fps, AUDIO.seconds)
        rivals.decord_sample(path, indices, size, RATE, start, AUDIO.seconds)

    works: dict[str, Callable[[int], object]] = {
        "sample": partial(sample, part.row),
        "sample with all of the sound": whole,
        "sample from the cache": partial(sample, part.cached),
        "frames": lambda number: reader.frames(moment(part.row, number)),
        "probe": lambda _: probe(path),
    }
    if rivals.has_decord():
        works["decord"] = by_decord
    program = rivals.find_ffmpeg()
    if program is not None:
        works["ffmpeg"] = lambda number: rivals.ffmpeg_frames(
            program, path, moment(part.row, number).indices, part.row.fps, size
        )
        works["start of ffmpeg"] = lambda _: rivals.start_ffmpeg(program)
    return interleaved(works, repeats)


def _sample_goals(found: dict[str, Timing], kind: Kind) -> list[Goal]:
    goals: list[Goal] = []
    avi = kind.suffix == ".avi"
    sample, cached = found["sample"].milliseconds, found["sample from the cache"].milliseconds
    if "decord" in found:
        ratio = _ratio(found["decord"].milliseconds, sample)
        goals.append(Goal("decord's two readers / a sample", kind.name, ratio, "x", 1.8, True))
    if "ffmpeg" in found and not avi:
        start = found["start of ffmpeg"].median
        net = [max(value - start, 1e-9) for value in found["ffmpeg"].milliseconds]
        ratio = _ratio(found["frames"].milliseconds, net)
        goals.append(Goal("a sample's frames / ffmpeg net of its start", kind.name, ratio, "x", 0.6, False))
    goals.append(Goal("a sample / one from the cache", kind.name, _ratio(sample, cached), "x", 1.5 if avi else 5, True))
    goals.append(Goal("files probed a second", kind.name, 1000 / found["probe"].median, "", 150, True))
    return goals


def _ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the rounds' ratios; both works took the clip at the same place in a round."""
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def _views(manifest: Manifest, row: ManifestRow) -> Callable[[int], object]:
    """Return a function that makes the training views of a clip that is decoded already."""
    reader = ClipReader(manifest, CLIP, AUDIO, keep=True)
    views = TrainViews(
        reader, [], [row], {row.id: 0}, CLIP, Augment(), LogMelStatistics(-5.0, 4.0), guide_seconds=None, seed=0
    )
    return lambda number: views[SampleKey(UNLABELED, 0, number + 1, 0)]


def _manifest_of(folder: Path, count: int) -> Callable[[int], object]:
    """Write a manifest with `count` rows in 400 classes. Return a function that reads it."""
    names = [f"class {number:03d}" for number in range(400)]
    rows = []
    for number in range(count):
        label = names[number % 400]
        path = f"train/{label}/{number:011d}_000001_000011.mp4"
        rows.append(ManifestRow(f"{number:011d}_000001", path, label, "train", 10.01, 29.97, 300, 340, 256, path, ""))
    write_manifest(folder, rows, names)
    return lambda _: read_manifest(folder)


def memory_an_open(paths: Sequence[Path], opens: int) -> float:
    """Return the KB of memory that each open of a file leaves behind, with its facts, a frame and some sound read."""

    def look(number: int) -> None:
        path = paths[number // 3 % len(paths)]
        if number % 3 == 0:
            probe(path)
        elif number % 3 == 1:
            read_clip(path, [0])
        else:
            read_audio(path, RATE, 0.0, 0.1)

    for number in range(OPENS_BEFORE):
        look(number)
    gc.collect()
    before = resident_bytes()
    for number in range(opens):
        look(number)
    gc.collect()
    return max(resident_bytes() - before, 0) / 1024 / max(opens, 1)


def resident_bytes() -> int:
    """Return the memory this process holds now; if the system does not say, the most it has held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    # Kilobytes, except on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
