"""The former demo data set: clips in which one of two or three moving sprites sounds.

The class is the kind and the action of the sprite that sounds. The silent ones show the pairs of other classes, so that
the picture alone leaves two or three candidates; noise and a sound from outside the picture blur the sound. With a
scene bias the background tells of the class too, as the places of real actions do, except in one more test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from asgmcli.data.manifest import ManifestRow, write_manifest
from asgmcli.data.size import Size
from asgmcli.files import write_text
from asgmcli.media.write import write_clip
from asgmcli.options import ShareType
from asgmcli.synthetic.clips import AUDIO_RATE, CLASSES, DemoSettings, clip_label, clip_place, clip_scene, clip_sound
from asgmcli.synthetic.making import (
    CLIPS_FOLDER,
    OUTPUTS,
    PREVIEW_NAME,
    Progress,
    claim,
    clip_id,
    clip_path,
    csv_text,
    in_processes,
    options_of,
    write_summary,
    writing,
)
from asgmcli.synthetic.preview import PreviewClip, draw_preview
from asgmcli.synthetic.scenes import render, source_boxes

TITLE = "the demo's former clips of sprites, whose sound alone tells most; for the claims made on them"
OPTIONS = (
    *options_of(train=1200, val=200, test=500, size=96),
    click.Option(["--seconds"], type=click.FloatRange(0, min_open=True), help="Length of a clip.  [default: 2]"),
    click.Option(["--fps"], type=click.FloatRange(0, min_open=True), help="Frames a second.  [default: 8]"),
    click.Option(
        ["--scene-bias"],
        type=ShareType(),
        metavar="P",
        help="Set a clip in its class's own place with this probability, else in another's; adds test_shuffled and "
        "val_shuffled, whose places tell nothing. Goes to data/demo_shapes_biasP_seedK.",
    ),
)
CRF = 23
PRESET = "veryfast"
BOXES_NAME = "boxes.csv"


def folder(options: Mapping[str, object]) -> str:
    """Return the data set's folder, such as `demo_shapes_bias0.7_seed3` where its scenes are biased."""
    bias = options.get("scene_bias")
    return "demo_shapes" if bias is None else f"demo_shapes_bias{bias:g}_seed{options.get('seed', 0)}"


def size(options: Mapping[str, Any]) -> Size:
    """Return how many classes and clips the data set of `options` has."""
    return DemoSettings(**options).expected(len(CLASSES), boxes=True)


def generate(
    out: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    **given: Any,
) -> None:
    """Make the demo data set in `out`, or finish one that was interrupted; a finished one is left as it is.

    Writes clips/<split>/<id>.mp4, manifest.csv, classes.txt, boxes.csv (the sounding sprite's box in every frame:
    pixels, x2 and y2 exclusive), quarantine.csv (no rows), preview.png and, last, summary.json. The same settings give
    the same files on any number of workers.

    Args:
        out: the folder, made if missing.
        seed: another seed gives another data set.
        workers: processes; None takes the machine's cores.
        progress: called after every clip.
        overwrite: replace a data set made with other settings.
        **given: `train`, `val`, `test`, `size`, `seconds`, `fps`, `scene_bias` of `DemoSettings`. Sprites and sounds
            are those of any other bias; a row's note names its place.

    Raises:
        UsageError: impossible settings, or `out` holds a data set of other settings and `overwrite` is not given.
        DataError: `out` cannot be written to.
    """
    settings = DemoSettings(**given, seed=seed)
    settings.check()
    out = Path(out)
    with writing(out):
        files = (clip_path(out, *clip) for clip in settings.clips)
        if claim(out, settings.content(), (*OUTPUTS, BOXES_NAME, CLIPS_FOLDER), files, overwrite=overwrite):
            return
        for split in dict.fromkeys(split for split, _ in settings.clips):
            (out / CLIPS_FOLDER / split).mkdir(parents=True, exist_ok=True)
        boxes = list(in_processes(partial(_write_one, out, settings), settings.clips, workers, progress))
        _write_tables(out, settings, boxes)


def _write_one(out: Path, settings: DemoSettings, clip: tuple[str, int]) -> np.ndarray:
    """Write one clip unless its file exists (files are written atomically). Return its boxes int [T, 4]."""
    scene = clip_scene(settings, *clip)
    path = clip_path(out, *clip)
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
    lines: list[tuple[object, ...]] = [("id", "frame", "x1", "y1", "x2", "y2")]
    for row, of_clip in zip(rows, boxes, strict=True):
        lines += [(row.id, frame, *map(int, box)) for frame, box in enumerate(of_clip)]
    write_text(out / BOXES_NAME, csv_text(lines))
    draw_preview(out / PREVIEW_NAME, _examples(settings, boxes), settings.fps, AUDIO_RATE)
    write_summary(out, "demo_shapes", settings.content(), manifest, {row.id: [row.label] for row in rows})


def _row(out: Path, settings: DemoSettings, split: str, index: int) -> ManifestRow:
    path = clip_path(out, split, index).relative_to(out).as_posix()
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
