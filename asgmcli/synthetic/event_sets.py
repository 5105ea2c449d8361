"""Data sets of generated clips with events, as `asgm prepare` writes them: clips, truth, tables, a preview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from asgmcli.data.manifest import ManifestRow, write_manifest
from asgmcli.data.segments import SEGMENTS_NAME, Span, segments_csv
from asgmcli.data.size import Size
from asgmcli.files import write_text
from asgmcli.media.seconds import SECONDS
from asgmcli.media.write import write_clip
from asgmcli.synthetic.event_casts import random_of
from asgmcli.synthetic.event_preview import PreviewClip, draw_event_preview
from asgmcli.synthetic.making import (
    CLIPS_FOLDER,
    OUTPUTS,
    PREVIEW_NAME,
    GeneratedSettings,
    Progress,
    beside,
    claim,
    clip_id,
    clip_path,
    in_processes,
    options_of,
    write_summary,
    writing,
)
from asgmcli.synthetic.sounds import AUDIO_RATE
from asgmcli.synthetic.things import MARK, Clip, draw_stage, render_frames, render_sound

VERSION = 3  # of the generator: raised with any change that alters a clip
MOST_FPS = 60.0
CRF, PRESET = 20, "veryfast"
PREVIEWED, SEARCHED = 6, 100
FINER = 3  # times, the clips of the preview


def options(train: int, val: int, test: int) -> tuple[click.Option, ...]:
    """Return the click options of such a data set, by its default numbers of clips."""
    fps = click.Option(["--fps"], type=click.FloatRange(1), help="Frames a second.  [default: 4]")
    return (*options_of(train, val, test, size=48), fps)


@dataclass(frozen=True)
class EventSettings(GeneratedSettings):
    """The settings of a generated data set: clips a split, seed, frame side in pixels, frames a second."""

    fps: float = 4.0
    version: int = VERSION

    @property
    def times(self) -> np.ndarray:
        """Return each frame's time, seconds [T]."""
        return np.arange(round(SECONDS * self.fps)) / self.fps

    def faults(self, multiple: int = 2) -> list[str]:
        """See `GeneratedSettings`."""
        fault = [] if 1 <= self.fps <= MOST_FPS else [f"fps = {self.fps} is not in 1..{MOST_FPS:g}"]
        return super().faults(multiple) + fault


@dataclass(frozen=True)
class Features:
    """The features that a data set brings with its clips.

    Attributes:
        learn: (folder) -> None; what needs no clips, made beside them.
        make: (folder, workers, progress) -> entries of the summary, after making the features of all clips.
        outputs: files that both make, from the folder.
    """

    learn: Callable[[Path], None]
    make: Callable[[Path, int | None, Progress | None], dict[str, Any]]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """A data set of clips with events.

    Attributes:
        name: of the data set.
        clips: by default, of each split.
        classes: in the order of classes.txt.
        cast: (seed, split, index) -> the things of a clip.
        spans: (split, clip) -> its events as segments.csv has them.
        label: clip -> the manifest's label, "" where a clip has several.
        modality: segments.csv has the column.
        features: makes what else the data set has of each clip.
    """

    name: str
    clips: Mapping[str, int]
    classes: tuple[str, ...]
    cast: Callable[[int, str, int], Clip]
    spans: Callable[[str, Clip], list[Span]]
    label: Callable[[Clip], str]
    modality: bool
    features: Features | None = None

    def folder(self, options: Mapping[str, object]) -> str:  # noqa: ARG002 - every generator has it
        """Return the data set's folder in data/."""
        return self.name

    def size(self, options: Mapping[str, Any]) -> Size:
        """Return how many classes and clips the data set of `options` has."""
        return EventSettings(**{**self.clips, **options}).expected(len(self.classes))

    def generate(
        self,
        out: Path,
        *,
        seed: int = 0,
        workers: int | None = None,
        progress: Progress | None = None,
        overwrite: bool = False,
        **given: Any,
    ) -> None:
        """Make the data set in `out`, see `make`; `given` are the options of `options`."""
        settings = EventSettings(**{**self.clips, **given}, seed=seed)
        make(self, out, settings, workers=workers, progress=progress, overwrite=overwrite)


def make(
    world: World,
    out: Path,
    settings: EventSettings,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Make the data set `world` in `out`, or finish one that was interrupted; a finished one is left as it is.

    Writes clips/<split>/<id>.mp4, manifest.csv, classes.txt, segments.csv, quarantine.csv (no rows), preview.png and,
    last, summary.json. The same settings give the same files on any number of workers.

    Args:
        world: what is made.
        out: the folder, made if missing.
        settings: of the clips.
        workers: processes; None takes the machine's cores.
        progress: called after every clip, and again after its features.
        overwrite: replace a data set made with other settings.

    Raises:
        UsageError: impossible settings, or `out` holds a data set of other settings and `overwrite` is not given.
        DataError: `out` cannot be written to.
    """
    settings.check()
    out = Path(out)
    with writing(out):
        files = (clip_path(out, *clip) for clip in settings.clips)
        content = {"dataset": world.name, **MARK, **asdict(settings)}
        extra = () if world.features is None else world.features.outputs
        outputs = (*OUTPUTS, SEGMENTS_NAME, CLIPS_FOLDER, *extra)
        if claim(out, content, outputs, files, overwrite=overwrite):
            return
        for split in dict.fromkeys(split for split, _ in settings.clips):
            (out / CLIPS_FOLDER / split).mkdir(parents=True, exist_ok=True)
        stages = 1 if world.features is None else 2
        with beside(partial(_prepare, world, out, settings), workers):
            tell = _stage_of(progress, 0, stages)
            for _ in in_processes(partial(_write_one, world, out, settings), settings.clips, workers, tell):
                pass
        _write_tables(world, out, settings, workers, _stage_of(progress, 1, stages))


def _stage_of(progress: Progress | None, number: int, stages: int) -> Progress | None:
    """Return what tells `progress` how far stage `number` (from 0) is, where each of `stages` takes every clip."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, stages * total)


def render_clip(world: World, settings: EventSettings, split: str, index: int, finer: int = 1) -> PreviewClip:
    """Return a clip's things, frames and sound; seed, split and index alone decide them.

    Frames are `finer` times as large as the settings say.
    """
    clip = world.cast(settings.seed, split, index)
    stage = draw_stage(random_of(settings.seed, split, index, stream=2), clip)
    frames = render_frames(stage, settings.times, finer * settings.size)
    return PreviewClip(clip, frames, render_sound(random_of(settings.seed, split, index, stream=3), stage))


def _write_one(world: World, out: Path, settings: EventSettings, clip: tuple[str, int]) -> None:
    """Write one clip unless its file exists (files are written atomically)."""
    path = clip_path(out, *clip)
    if not path.exists():
        made = render_clip(world, settings, *clip)
        # No B-frames: a frame predicted from later ones decodes only after them.
        write_clip(
            path,
            made.frames,
            settings.fps,
            made.sound,
            AUDIO_RATE,
            crf=CRF,
            preset=PRESET,
            bframes=False,
            quick_sound=True,
        )


def _prepare(world: World, out: Path, settings: EventSettings) -> None:
    """Make what needs no clip's file: the network of the features, the preview."""
    if world.features is not None:
        world.features.learn(out)
    shown = [render_clip(world, settings, *clip, FINER) for clip in _various(world, settings)]
    draw_event_preview(out / PREVIEW_NAME, world.name, world.classes, shown, settings.fps)


def _various(world: World, settings: EventSettings) -> list[tuple[str, int]]:
    """Return a few of the first clips, each of which shows kinds that those before it do not."""
    known: set[str] = set()
    left = settings.clips[:SEARCHED]
    kinds = {clip: {thing.kind for thing in world.cast(settings.seed, *clip).things} for clip in left}
    chosen: list[tuple[str, int]] = []
    while left and len(chosen) < PREVIEWED:
        best = max(left, key=lambda clip: len(kinds[clip] - known))
        known |= kinds[best]
        left.remove(best)
        chosen.append(best)
    return chosen


def _write_tables(
    world: World, out: Path, settings: EventSettings, workers: int | None, progress: Progress | None
) -> None:
    """Write what stands beside the clips, the summary last."""
    casts = {clip_id(*clip): world.cast(settings.seed, *clip) for clip in settings.clips}
    rows = []
    for split, index in settings.clips:
        path, name = clip_path(out, split, index).relative_to(out).as_posix(), clip_id(split, index)
        frames, side, label = len(settings.times), settings.size, world.label(casts[name])
        rows.append(ManifestRow(name, path, label, split, float(SECONDS), settings.fps, frames, side, side, path, ""))
    manifest = write_manifest(out, rows, world.classes)
    events = {row.id: world.spans(row.split, casts[row.id]) for row in rows}
    write_text(out / SEGMENTS_NAME, segments_csv(events, rows, modality=world.modality))
    found = {} if world.features is None else world.features.make(out, workers, progress)
    labels = {name: {thing.kind for thing in clip.things} & {*world.classes} for name, clip in casts.items()}
    write_summary(
        out,
        world.name,
        {**MARK, **asdict(settings)},
        manifest,
        labels,
        notes=["A clip counts in each class that it has."],
        **found,
    )
