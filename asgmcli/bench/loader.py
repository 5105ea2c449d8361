"""Measure the loader's processor time on generated files like those of the data sets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from asgmcli.bench.footage import KINETICS, LARGE, UCF, Kind, make_original
from asgmcli.data.frame_cache import cache_frames, cached_file, read_jpegs
from asgmcli.data.manifest import MANIFEST_NAME, Manifest, ManifestRow
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.data.plan import SampleKey, generator
from asgmcli.data.reader import ClipReader, Moment
from asgmcli.data.windows import CANDIDATES, Window, read_frames, resized, windows_of
from asgmcli.errors import DataError
from asgmcli.media.clips import random_start
from asgmcli.media.probe import probe
from asgmcli.prepare.cache import cache_clip, cache_task
from asgmcli.prepare.verify import Facts, Fault, FileCheck, examine
from asgmcli.recipe.clips import Audio, Augment, Clip
from asgmcli.recipe.events import FrameInput
from asgmcli.report.table import Cell, Table
from asgmcli.report.timing import Timing, interleaved
from asgmcli.tasks.recognition.views import UNLABELED, TrainViews

KINDS = (KINETICS, LARGE, UCF)
CLIP, AUDIO = Clip(), Audio()  # the paper's: 8 frames, stride 8, 224 pixels; 4 s of sound
NOTE = (
    "A sample: 8 frames of 224 pixels at stride 8, and 4 s of sound. Views: weak and strong one, log-mel. A frame a "
    "second: one of 16 a second, drawn, for 10 s at most, 256x256, as AV-BT takes them; JPEGs: --cache-form jpeg."
)
WINDOW_S = 10


def measure(repeats: int, say: Callable[[str], object], kinds: Sequence[Kind] = KINDS) -> list[Timing]:
    """Time the loader's work on one thread, `repeats` rounds on a file of each kind, made in a temporary folder first.

    `say` is told what is done.

    Raises:
        DataError: a file that was made cannot be read as it should.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="asgm-bench-") as name:
            timings: list[Timing] = []
            for kind in kinds:
                say(f"{kind.name}: making a file, then {repeats} rounds")
                timings += _measure_kind(Path(name), kind, repeats)
            return timings
    finally:
        torch.set_num_threads(threads)


def table(timings: Sequence[Timing]) -> Table:
    """Return a table with a line a work."""
    lines: list[list[Cell]] = [[timing.name, timing.median, 1000 / timing.median] for timing in timings]
    return Table("Loading", ["what", "milliseconds of a core", "a second"], lines, NOTE)


def _measure_kind(folder: Path, kind: Kind, repeats: int) -> list[Timing]:
    """Time everything on one kind of file, in turns; each round takes the clip at another place."""
    row, cached = _make(folder, kind)
    manifest = Manifest(folder, [row], ["made"], folder / MANIFEST_NAME, "")
    reader = ClipReader(manifest, CLIP, AUDIO)
    path = manifest.resolve(row)

    def moment(row: ManifestRow, number: int) -> Moment:
        uniform = float(generator(0, "bench", number).random())
        return reader.moment(row, random_start(row.frames, CLIP.frames, CLIP.stride, uniform))

    def sample(row: ManifestRow, number: int) -> None:
        at = moment(row, number)
        reader.frames(at)
        reader.wave(at, AUDIO.seconds)

    decoded = ClipReader(manifest, CLIP, AUDIO, keep=True)
    views = TrainViews(
        decoded, [], [row], {row.id: 0}, CLIP, Augment(), LogMelStatistics(-5.0, 4.0), guide_seconds=None, seed=0
    )
    works: dict[str, Callable[[int], object]] = {
        "sample": partial(sample, row),
        "sample from the cache": partial(sample, cached),
        "frames": lambda number: reader.frames(moment(row, number)),
        "probe": lambda _: probe(path),
        **_a_frame_a_second(folder / "frames", manifest, row, cached),
        "views of a decoded clip": lambda number: views[SampleKey(UNLABELED, 0, number + 1, 0)],
    }
    return [Timing(f"{timing.name}, {kind.name}", timing.milliseconds) for timing in interleaved(works, repeats)]


def _a_frame_a_second(
    folder: Path, manifest: Manifest, row: ManifestRow, cached: ManifestRow
) -> dict[str, Callable[[int], object]]:
    """Return what AV-BT's loader does for a window: from the file, from its copy, and from JPEGs, made here first."""
    settings, target = FrameInput(), cached_file(folder, row)
    cache_frames(manifest.resolve(row), row, target, settings)
    window = windows_of(row, WINDOW_S)[0]

    def draws(number: int) -> list[int]:
        drawn: list[int] = generator(0, "frames", number).integers(CANDIDATES, size=window.real).tolist()
        return drawn

    def decoded(window: Window, number: int) -> None:
        resized(read_frames(manifest, window, draws(number), settings.resize_to), settings.resize_to, settings.resize)

    def jpegs(number: int) -> None:
        read_jpegs(target, [CANDIDATES * second + draw for second, draw in enumerate(draws(number))])

    return {
        "a frame a second": partial(decoded, window),
        "a frame a second from the cache": partial(decoded, replace(window, row=cached)),
        "a frame a second, JPEGs": jpegs,
    }


def _make(folder: Path, kind: Kind) -> tuple[ManifestRow, ManifestRow]:
    """Make a file. Return its row, and the row of its copy in the cache."""
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
    return row, _row(f"{name}_cached", task.video, copy, task.sound)


def _row(name: str, path: str, facts: Facts, audio: str) -> ManifestRow:
    numbers = (facts.duration, facts.fps, facts.frames, facts.width, facts.height)
    return ManifestRow(name, path, "made", "train", *numbers, audio if facts.sound else "", "")
