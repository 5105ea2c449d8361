"""The demo data set: generated clips in which one of two or three moving sprites sounds.

The class is the kind and the action of the sprite that sounds. The silent ones show the pairs of other classes, so that
the picture alone leaves two or three candidates; noise and a sound from outside the picture blur the sound. With a
scene bias the background tells of the class too, as the places of real actions do, except in one more test split.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from asgmcli.data.manifest import CLASSES_NAME, MANIFEST_NAME, SPLITS, ManifestRow, write_manifest
from asgmcli.data.size import Size
from asgmcli.errors import DataError
from asgmcli.files import write_text
from asgmcli.media.write import write_clip
from asgmcli.options import ShareType
from asgmcli.synthetic.clips import AUDIO_RATE, CLASSES, DemoSettings, clip_label, clip_place, clip_scene, clip_sound
from asgmcli.synthetic.making import Progress, claim, csv_text, in_processes
from asgmcli.synthetic.preview import PreviewClip, draw_preview
from asgmcli.synthetic.scenes import render, source_boxes

TITLE = "generated clips of moving, sounding sprites; nothing to download"
OPTIONS = (
    click.Option(["--train"], type=click.IntRange(min=0), help="Training clips.  [default: 1200]"),
    click.Option(["--val"], type=click.IntRange(min=0), help="Validation clips.  [default: 200]"),
    click.Option(["--test"], type=click.IntRange(min=0), help="Test clips.  [default: 500]"),
    click.Option(["--size"], type=click.IntRange(min=32), help="Side of a frame in pixels.  [default: 96]"),
    click.Option(["--seconds"], type=click.FloatRange(0, min_open=True), help="Length of a clip.  [default: 2]"),
    click.Option(["--fps"], type=click.FloatRange(0, min_open=True), help="Frames a second.  [default: 8]"),
    click.Option(
        ["--scene-bias"],
        type=ShareType(),
        metavar="P",
        help="Set a clip in its class's own place with this probability, else in another's; adds test_shuffled and "
        "val_shuffled, whose places tell nothing. Goes to data/demo_biasP_seedK.",
    ),
)
CRF = 23
PRESET = "veryfast"
SUMMARY_NAME = "summary.json"
BOXES_NAME = "boxes.csv"
QUARANTINE_NAME = "quarantine.csv"
PREVIEW_NAME = "preview.png"
CLIPS_FOLDER = "clips"
OUTPUTS = (SUMMARY_NAME, MANIFEST_NAME, CLASSES_NAME, BOXES_NAME, QUARANTINE_NAME, PREVIEW_NAME, CLIPS_FOLDER)


def folder(options: Mapping[str, object]) -> str:
    """Return the data set's folder: `demo`, or such as `demo_bias0.7_seed3` where its scenes are biased."""
    bias = options.get("scene_bias")
    return "demo" if bias is None else f"demo_bias{bias:g}_seed{options.get('seed', 0)}"


def size(options: Mapping[str, Any]) -> Size:
    """Return how many classes and clips the data set of `options` has.

    Raises:
        UsageError: impossible options.
    """
    settings = DemoSettings(**options)
    settings.check()
    return Size(len(CLASSES), settings.counts, "the settings of what is generated", boxes=True)


def clip_id(split: str, index: int) -> str:
    """Return the clip's id, which reveals nothing of its class."""
    return f"{split}_{index:05d}"


def generate(
    out: Path,
    *,
    train: int = 1200,
    val: int = 200,
    test: int = 500,
    seed: int = 0,
    size: int = 96,
    seconds: float = 2.0,
    fps: float = 8.0,
    scene_bias: float | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Make the demo data set in `out`, or finish one that was interrupted; a finished one is left as it is.

    Writes clips/<split>/<id>.mp4, manifest.csv, classes.txt, boxes.csv (the sounding sprite's box in every frame:
    pixels, x2 and y2 exclusive), quarantine.csv (no rows), preview.png and, last, summary.json. The same settings give
    the same files on any number of workers.

    Args:
        out: the folder, made if missing.
        train: training clips. Labels are given for all; which of them training may see is not decided here.
        val: validation clips.
        test: test clips.
        seed: another seed gives another data set.
        size: frame side in pixels.
        seconds: length of a clip.
        fps: frames a second.
        scene_bias: probability that a clip is set in its class's own place and not in another's. Adds
            `test_shuffled`, as large as `test`, with places independent of the class, and likewise `val_shuffled`; a
            row's note names its place. The sprites and sounds are those of any other bias.
        workers: processes; None takes the machine's cores.
        progress: called after every clip.
        overwrite: replace a data set made with other settings.

    Raises:
        UsageError: impossible settings, or `out` holds a data set of other settings and `overwrite` is not given.
        DataError: `out` cannot be written to.
    """
    settings = DemoSettings(train, val, test, seed, size, float(seconds), float(fps), scene_bias=scene_bias)
    settings.check()
    out = Path(out)
    try:
        files = (_clip_path(out, *clip) for clip in settings.clips)
        if claim(out, settings.content(), OUTPUTS, files, overwrite=overwrite):
            return
        for split in dict.fromkeys(split for split, _ in settings.clips):
            (out / CLIPS_FOLDER / split).mkdir(parents=True, exist_ok=True)
        boxes = _write_clips(out, settings, workers, progress)
        _write_tables(out, settings, boxes)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written ({error.strerror or error}). Name another folder with --out."
        ) from error


def _clip_path(out: Path, split: str, index: int) -> Path:
    return out / CLIPS_FOLDER / split / f"{clip_id(split, index)}.mp4"


def _write_clips(out: Path, settings: DemoSettings, workers: int | None, progress: Progress | None) -> list[np.ndarray]:
    """Write every clip that is not there yet; the boxes int [T, 4] of all, in the manifest's order."""
    clips = settings.clips
    make = partial(_write_one, out, settings)
    processes = min(os.cpu_count() or 1 if workers is None else workers, len(clips))
    boxes: list[np.ndarray] = []
    for done in in_processes(make, clips, processes):
        boxes.append(done)
        if progress is not None:
            progress(len(boxes), len(clips))
    return boxes


def _write_one(out: Path, settings: DemoSettings, clip: tuple[str, int]) -> np.ndarray:
    """Write one clip unless its file exists (files are written atomically). Return its boxes int [T, 4]."""
    scene = clip_scene(settings, *clip)
    path = _clip_path(out, *clip)
    if not path.exists():
        frames = render(scene, settings.times, settings.size)
        sound = clip_sound(settings, *clip, scene)
        # No B-frames: a frame predicted from later ones decodes only after them.
        write_clip(path, frames, settings.fps, sound, AUDIO_RATE, crf=CRF, preset=PRESET, bframes=False)
    return source_boxes(scene, settings.times, settings.size)


def _write_tables(out: Path, settings: DemoSettings, boxes: list[np.ndarray]) -> None:
    """Write what stands beside the clips, the summary last."""
    names = [entry.name for entry in CLASSES]
    rows = [_row(out, settings, split, index) for split, index in settings.clips]
    manifest = write_manifest(out, rows, names)
    write_text(out / QUARANTINE_NAME, csv_text([("id", "path", "reason", "detail")]))
    lines: list[tuple[object, ...]] = [("id", "frame", "x1", "y1", "x2", "y2")]
    for row, of_clip in zip(rows, boxes, strict=True):
        lines += [(row.id, frame, *map(int, box)) for frame, box in enumerate(of_clip)]
    write_text(out / BOXES_NAME, csv_text(lines))
    draw_preview(out / PREVIEW_NAME, _examples(settings, boxes), settings.fps, AUDIO_RATE)
    # The three standard splits are counted even if empty.
    splits = dict.fromkeys((*SPLITS, *(row.split for row in rows)))
    counted = {split: Counter(row.label for row in rows if row.split == split) for split in splits}
    summary = {
        "dataset": "demo",
        "settings": settings.content(),
        "clips": len(rows),
        "counts": {split: {name: counted[split][name] for name in names} for split in splits},
        "manifest_sha256": manifest.sha256,
    }
    write_text(out / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")


def _row(out: Path, settings: DemoSettings, split: str, index: int) -> ManifestRow:
    path = _clip_path(out, split, index).relative_to(out).as_posix()
    label = CLASSES[clip_label(settings.seed, split, index)].name
    count, side = len(settings.times), settings.size
    place = clip_place(settings, split, index)
    note = "" if place is None else place.name
    return ManifestRow(
        clip_id(split, index), path, label, split, count / settings.fps, settings.fps, count, side, side, path, note
    )


def _examples(settings: DemoSettings, boxes: list[np.ndarray]) -> list[PreviewClip]:
    """Return the first clip of every class, for the preview."""
    found: dict[int, PreviewClip] = {}
    for clip, of_clip in zip(settings.clips, boxes, strict=True):
        label = clip_label(settings.seed, *clip)
        if label not in found:
            scene = clip_scene(settings, *clip)
            frames = render(scene, settings.times, settings.size)
            sound = clip_sound(settings, *clip, scene)
            found[label] = PreviewClip(
                CLASSES[label].name, f"{CLASSES[label].timbre}, {CLASSES[label].follows}", frames, of_clip, sound
            )
        if len(found) == len(CLASSES):
            break
    return [found[label] for label in sorted(found)]
