"""The segmentation demo: frames, optical flow, sound, and a mask of what sounds for every frame.

Stickers and timbres by default; with `--things`, `--sounds` and `--grounds` photographs and recordings of one's own.
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
from asgmcli.files import replacing, write_text
from asgmcli.media.flow import encode_flow, farneback
from asgmcli.media.write import write_clip
from asgmcli.synthetic.casts import source_of
from asgmcli.synthetic.demo import MATERIAL
from asgmcli.synthetic.kinds import KINDS
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
from asgmcli.synthetic.material import Kit, check_photos, find_kit
from asgmcli.synthetic.segmentation_clips import (
    FLOW_BOUND,
    SECONDS,
    SegmentationSettings,
    draw_cast,
    film,
    make_clip,
)
from asgmcli.synthetic.segmentation_preview import draw_preview
from asgmcli.synthetic.sounds import AUDIO_RATE
from asgmcli.synthetic.things import MARK as MARK

TITLE = "generated clips of five frames with masks of what sounds; nothing to download"
_FOLDER = click.Path(path_type=Path, file_okay=False)
OPTIONS = (
    *options_of(train=1000, val=200, test=400, size=64),
    click.Option(
        ["--things"], type=_FOLDER, help="Photographs with transparency, a folder a kind, in the place of glyphs."
    ),
    click.Option(
        ["--sounds"], type=_FOLDER, help="Recordings, a folder a kind (of --things, where given), for timbres."
    ),
    click.Option(["--grounds"], type=_FOLDER, help="Pictures to stand before, in the place of textures."),
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
    return NAME if all(options.get(name) is None for name in MATERIAL) else "photos_segmentation"


def size(options: Mapping[str, Any]) -> Size:
    """Return how many classes and clips the data set of `options` has."""
    given = {name: value for name, value in options.items() if name not in MATERIAL}
    return SegmentationSettings(**given).expected(len(KINDS))


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
    manifest.csv (a row's note names what is heard and what is silent), classes.txt, frames.csv, quarantine.csv (no
    rows), preview.png and, last, summary.json. The same settings give the same files on any number of workers.

    Args:
        out: the folder, made if missing.
        seed: another seed gives another data set.
        workers: processes; None takes the machine's cores.
        progress: called after every clip.
        overwrite: replace a data set made with other settings.
        things: pictures with transparency, a folder a kind; None: glyphs.
        sounds: recordings, a folder a kind; None: timbres.
        grounds: pictures; None: textures.
        **given: `train`, `val`, `test` clips, `size` of a frame.

    Raises:
        UsageError: impossible settings, too few files, or `out` holds a data set of other settings and `overwrite` is
            not given.
        DataError: `out` cannot be written to, or a picture or recording cannot be read.
    """
    settings = SegmentationSettings(**given, seed=seed)
    settings.check()
    kit = find_kit(things, sounds, grounds, seed)
    folders = {name: str(path) for name, path in zip(MATERIAL, (things, sounds, grounds), strict=True) if path}
    content = {"dataset": NAME, **MARK, **asdict(settings), "flow_bound": FLOW_BOUND, **folders}
    out = Path(out)
    with writing(out):
        sounds_made = (_sound_path(out, *clip) for clip in settings.clips)
        if claim(out, content, (*OUTPUTS, FRAMES_NAME, *FOLDERS), sounds_made, overwrite=overwrite):
            return
        check_photos(kit.photos)
        for name in FOLDERS:
            (out / name).mkdir(parents=True, exist_ok=True)
        for _ in in_processes(partial(_write_one, out, settings, kit), settings.clips, workers, progress):
            pass
        _write_tables(out, settings, kit, content)


def _sound_path(out: Path, split: str, index: int) -> Path:
    return out / SOUND / f"{clip_id(split, index)}.wav"


def _write_one(out: Path, settings: SegmentationSettings, kit: Kit, clip: Clip) -> None:
    """Write one clip's files, the sound last, unless that is there."""
    path, name = _sound_path(out, *clip), clip_id(*clip)
    if path.exists():
        return
    made = make_clip(settings, *clip, kit)
    for number in range(SECONDS):
        _write_png(out / FRAMES / f"{name}_{number + 1}.png", made.frames[number])
        _write_png(out / MASKS / f"{name}_{number + 1}.png", made.masks[number])
    flow = np.stack([farneback(a, b) for a, b in zip(made.frames, made.following, strict=True)])
    with replacing(out / FLOW / f"{name}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, encode_flow(flow, FLOW_BOUND))
    if clip[0] == "test" and clip[1] < FILMED:
        moving = film(settings, *clip, FILM_FPS, kit)
        write_clip(out / FILMS / f"{name}.mp4", moving, FILM_FPS, made.sound, AUDIO_RATE, crf=18, bframes=False)
    _write_wave(path, made.sound)


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


def _write_tables(out: Path, settings: SegmentationSettings, kit: Kit, content: Mapping[str, object]) -> None:
    """Write what stands beside the clips, the summary last. Of two that sound the first one drawn is the class."""
    rows, frames, side = [], {}, settings.size
    for split, index in settings.clips:
        name, label = clip_id(split, index), kit.kinds[source_of(settings.seed, split, index, kit.kinds)].name
        seen = [thing for thing in draw_cast(settings.seed, split, index, kit.kinds).things if thing.visible]
        heard, silent = (", ".join(t.kind for t in seen if bool(t.sounding) is sounds) for sounds in (True, False))
        note = f"heard: {heard}; silent: {silent}"
        first, sound = f"{FRAMES}/{name}_1.png", f"{SOUND}/{name}.wav"
        rows.append(ManifestRow(name, first, label, split, SECONDS, 1, SECONDS, side, side, sound, note))
        frames[name] = [
            FrameRow(k, f"{FRAMES}/{name}_{k}.png", f"{MASKS}/{name}_{k}.png", f"{FLOW}/{name}.npy", k - 1)
            for k in range(1, SECONDS + 1)
        ]
    manifest = write_manifest(out, rows, [kind.name for kind in kit.kinds])
    write_text(out / FRAMES_NAME, frames_text(frames, frames))
    shown = [make_clip(settings, *clip, kit) for clip in settings.clips[:PREVIEWED]]
    draw_preview(out / PREVIEW_NAME, shown)
    flow = {"kind": "farneback", "bound": FLOW_BOUND}
    notes = ["A clip counts in the class of the first thing that was drawn to sound; a row's note names all."]
    write_summary(out, NAME, content, manifest, {row.id: [row.label] for row in rows}, flow=flow, notes=notes)
