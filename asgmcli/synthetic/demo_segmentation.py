"""The segmentation demo: frames, optical flow, sound, and a mask of what sounds for every frame.

Moving sprites by default; with `--things` and `--sounds` composites of photographs and recordings of one's own.
"""

from __future__ import annotations

import wave
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from asgmcli.data.frames import FRAMES_NAME, FrameRow, frames_text
from asgmcli.data.manifest import ManifestRow, write_manifest
from asgmcli.data.size import Size
from asgmcli.errors import UsageError
from asgmcli.files import replacing, write_text
from asgmcli.media.flow import encode_flow, farneback
from asgmcli.media.write import write_clip
from asgmcli.synthetic.clips import CLASSES
from asgmcli.synthetic.making import (
    CLIPS_FOLDER,
    OUTPUTS,
    PREVIEW_NAME,
    Progress,
    claim,
    clip_id,
    in_processes,
    options_of,
    write_summary,
    writing,
)
from asgmcli.synthetic.material import Photos, check_photos, find_photos
from asgmcli.synthetic.photo_scenes import photo_clip, photo_film
from asgmcli.synthetic.segmentation_preview import draw_preview
from asgmcli.synthetic.segmentation_scenes import (
    FLOW_BOUND,
    SECONDS,
    MadeClip,
    SegmentationSettings,
    sprite_clip,
    sprite_film,
)
from asgmcli.synthetic.sounds import AUDIO_RATE

TITLE = "generated clips of five frames with masks of what sounds; nothing to download"
_FOLDER = click.Path(path_type=Path, file_okay=False)
OPTIONS = (
    *options_of(train=1000, val=200, test=400, size=64),
    click.Option(
        ["--things"],
        type=_FOLDER,
        help="Composites instead of sprites: a folder of folders CLASS/ of pictures with transparency.",
    ),
    click.Option(["--sounds"], type=_FOLDER, help="With --things: a folder of folders CLASS/ of recordings."),
    click.Option(["--grounds"], type=_FOLDER, help="With --things: pictures to stand before.  [default: generated]"),
)
NAME = "demo_segmentation"
FRAMES, MASKS, FLOW, SOUND, FILMS = "frames", "masks", "flow", "sound", CLIPS_FOLDER
FOLDERS = (FRAMES, MASKS, FLOW, SOUND, FILMS)
FILMED = 4
"""First test clips that are written as videos too."""
FILM_FPS = 25
PREVIEWED = 6
Clip = tuple[str, int]


def folder(options: Mapping[str, object]) -> str:
    """Return the data set's folder in data/."""
    return NAME if options.get("things") is None else "photos_segmentation"


def size(options: Mapping[str, Any]) -> Size:
    """Return how many classes and clips the data set of `options` has."""
    return SegmentationSettings(**options).expected(len(CLASSES))


def generate(
    out: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    things: Path | None = None,
    sounds: Path | None = None,
    grounds: Path | None = None,
    **given: int,
) -> None:
    """Make the data set in `out`, or finish one that was interrupted; a finished one is left as it is.

    Writes frames/ and masks/<id>_<k>.png (k from 1 to 5), flow/<id>.npy, sound/<id>.wav, a few clips/<id>.mp4,
    manifest.csv, classes.txt, frames.csv, quarantine.csv (no rows), preview.png and, last, summary.json. The same
    settings give the same files on any number of workers.

    Args:
        out: the folder, made if missing.
        seed: another seed gives another data set.
        workers: processes; None takes the machine's cores.
        progress: called after every clip.
        overwrite: replace a data set made with other settings.
        things: pictures with transparency by class; None: sprites.
        sounds: recordings by class; goes with `things`.
        grounds: pictures to stand before, with `things`; None: generated ones.
        **given: `train`, `val`, `test` clips, `size` of a frame.

    Raises:
        UsageError: impossible settings, or `out` holds a data set of other settings and `overwrite` is not given.
        DataError: `out` cannot be written to, or a picture or recording cannot be read.
    """
    settings = SegmentationSettings(**given, seed=seed)
    settings.check()
    if (things is None) != (sounds is None) or (grounds is not None and things is None):
        raise UsageError("--things and --sounds go together, --grounds with them.")
    photos = None if things is None or sounds is None else find_photos(things, sounds, grounds, seed)
    content = {"dataset": NAME, **asdict(settings), "flow_bound": FLOW_BOUND}
    if photos is not None:
        content |= {"things": str(things), "sounds": str(sounds), "grounds": str(grounds) if grounds else None}
    out = Path(out)
    with writing(out):
        sounds_made = (_sound_path(out, *clip) for clip in settings.clips)
        if claim(out, content, (*OUTPUTS, FRAMES_NAME, *FOLDERS), sounds_made, overwrite=overwrite):
            return
        if photos is not None:
            check_photos(photos)
        for name in FOLDERS:
            (out / name).mkdir(parents=True, exist_ok=True)
        labels = list(in_processes(partial(_write_one, out, settings, photos), settings.clips, workers, progress))
        _write_tables(out, settings, photos, labels, content)


def _sound_path(out: Path, split: str, index: int) -> Path:
    return out / SOUND / f"{clip_id(split, index)}.wav"


def make_clip(settings: SegmentationSettings, photos: Photos | None, split: str, index: int) -> MadeClip:
    """Return a clip; settings, split and index alone decide it."""
    return sprite_clip(settings, split, index) if photos is None else photo_clip(photos, settings, split, index)


def _write_one(out: Path, settings: SegmentationSettings, photos: Photos | None, clip: Clip) -> str:
    """Write one clip's files, the sound last, unless that is there; return its class."""
    path, name = _sound_path(out, *clip), clip_id(*clip)
    if path.exists():
        return _class_of(settings, photos, clip)
    made = make_clip(settings, photos, *clip)
    for number in range(SECONDS):
        _write_png(out / FRAMES / f"{name}_{number + 1}.png", made.frames[number])
        _write_png(out / MASKS / f"{name}_{number + 1}.png", made.masks[number])
    flow = np.stack([farneback(a, b) for a, b in zip(made.frames, made.following, strict=True)])
    with replacing(out / FLOW / f"{name}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, encode_flow(flow, FLOW_BOUND))
    if clip[0] == "test" and clip[1] < FILMED:
        film = (sprite_film(settings, *clip, FILM_FPS) if photos is None
                else photo_film(photos, settings, *clip, FILM_FPS))  # fmt: skip
        write_clip(out / FILMS / f"{name}.mp4", film, FILM_FPS, made.sound, AUDIO_RATE, crf=18, bframes=False)
    _write_wave(path, made.sound)
    return made.label


def _class_of(settings: SegmentationSettings, photos: Photos | None, clip: Clip) -> str:
    from asgmcli.synthetic.segmentation_scenes import class_of

    names = [entry.name for entry in CLASSES] if photos is None else photos.classes
    return names[class_of(settings.seed, *clip, len(names))]


def _write_png(path: Path, picture: np.ndarray) -> None:
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="png")


def _write_wave(path: Path, sound: np.ndarray) -> None:
    """Write float [S] at 16 kHz as 16-bit WAV."""
    with replacing(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).round().astype("<i2").tobytes())


def _write_tables(
    out: Path, settings: SegmentationSettings, photos: Photos | None, labels: list[str], content: dict[str, Any]
) -> None:
    """Write what stands beside the clips, the summary last."""
    names = [entry.name for entry in CLASSES] if photos is None else photos.classes
    rows, frames, side = [], {}, settings.size
    for (split, index), label in zip(settings.clips, labels, strict=True):
        name = clip_id(split, index)
        first, sound = f"{FRAMES}/{name}_1.png", f"{SOUND}/{name}.wav"
        rows.append(ManifestRow(name, first, label, split, SECONDS, 1, SECONDS, side, side, sound, ""))
        frames[name] = [
            FrameRow(k, f"{FRAMES}/{name}_{k}.png", f"{MASKS}/{name}_{k}.png", f"{FLOW}/{name}.npy", k - 1)
            for k in range(1, SECONDS + 1)
        ]
    manifest = write_manifest(out, rows, names)
    write_text(out / FRAMES_NAME, frames_text(frames, frames))
    shown = [make_clip(settings, photos, *clip) for clip in settings.clips[:PREVIEWED]]
    draw_preview(out / PREVIEW_NAME, shown)
    flow = {"kind": "farneback", "bound": FLOW_BOUND}
    write_summary(out, NAME, content, manifest, {row.id: [row.label] for row in rows}, flow=flow)
