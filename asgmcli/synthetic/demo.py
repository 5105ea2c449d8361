"""The demo data set: clips of two or three moving stickers, one of which sounds. The class is the kind of that one.

Neither picture nor sound tells it alone: two kinds share each timbre, and each thing that is seen is as likely to sound
(`casts`). With usual companions what is seen beside a source tells its class in training, and in one of two test
splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from asgmcli.data.manifest import SPLITS, ManifestRow, write_manifest
from asgmcli.data.segments import SEGMENTS_NAME, segments_csv
from asgmcli.data.size import Size
from asgmcli.files import write_text
from asgmcli.media.write import write_clip
from asgmcli.options import ShareType
from asgmcli.synthetic.casts import SHUFFLED, UNBIASED, VAL_SHUFFLED, draw_cast, random_of, source_of
from asgmcli.synthetic.kinds import KINDS
from asgmcli.synthetic.making import (
    CLIPS_FOLDER,
    OUTPUTS,
    PREVIEW_NAME,
    GeneratedSettings,
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
from asgmcli.synthetic.material import Kit, check_photos, find_kit
from asgmcli.synthetic.sounds import AUDIO_RATE
from asgmcli.synthetic.sticker_preview import Example, draw_preview
from asgmcli.synthetic.things import MARK as MARK
from asgmcli.synthetic.things import Clip, Stage, boxes, draw_stage, render_frames, render_sound

TITLE = "generated clips of moving, sounding things; nothing to download"
_FOLDER = click.Path(path_type=Path, file_okay=False)
CLIPS = {"train": 1000, "val": 200, "test": 400}
OPTIONS = (
    *options_of(**CLIPS, size=64),
    click.Option(["--seconds"], type=click.FloatRange(0, min_open=True), help="Length of a clip.  [default: 2]"),
    click.Option(["--fps"], type=click.FloatRange(0, min_open=True), help="Frames a second.  [default: 8]"),
    click.Option(
        ["--companions"],
        type=ShareType(),
        metavar="P",
        help="Put its class's usual companion beside what sounds with this probability, in train, val and test; adds "
        "test_shuffled and val_shuffled, where company is random, and unbiased: more of such clips, without labels.",
    ),
    click.Option(
        ["--unbiased"],
        type=click.IntRange(min=0),
        help="Clips of the split `unbiased`, for a localizer; with --companions alone.  [default: 600]",
    ),
    click.Option(
        ["--things"], type=_FOLDER, help="Photographs with transparency, a folder a kind, in the place of glyphs."
    ),
    click.Option(
        ["--sounds"], type=_FOLDER, help="Recordings, a folder a kind (of --things, where given), for timbres."
    ),
    click.Option(["--grounds"], type=_FOLDER, help="Pictures to stand before, in the place of textures."),
)
UNBIASED_CLIPS = 600
VERSION = 1  # of the generator: raised with any change that alters a clip
MOST_FRAMES = 10_000  # of a clip
CRF, PRESET = 20, "veryfast"
BOXES_NAME = "boxes.csv"
MATERIAL = ("things", "sounds", "grounds")
"""Options that name folders of one's own."""
FINER = 3  # times, the clips of the preview
GENERATED = Kit()
FILES_OF = {SHUFFLED: "test", VAL_SHUFFLED: "val", UNBIASED: "train"}
"""Whose photographs and recordings the further splits have."""


@dataclass(frozen=True)
class DemoSettings(GeneratedSettings):
    """The settings of a generated data set: clips a split, seed, frame side in pixels, seconds, frames a second.

    `companions` is the probability of a usual companion; None: there are none, and no splits to compare with.
    `unbiased` is the number of clips of that split, UNBIASED_CLIPS where it is None.
    """

    train: int = CLIPS["train"]
    val: int = CLIPS["val"]
    test: int = CLIPS["test"]
    seed: int = 0
    size: int = 64
    seconds: float = 2.0
    fps: float = 8.0
    version: int = VERSION
    companions: float | None = None
    unbiased: int | None = None

    @property
    def times(self) -> np.ndarray:
        """Return each frame's time, seconds [T]."""
        return np.arange(round(self.seconds * self.fps)) / self.fps

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of clips of each split."""
        found = {split: getattr(self, split) for split in SPLITS}
        if self.companions is None:
            return found
        unbiased = UNBIASED_CLIPS if self.unbiased is None else self.unbiased
        return found | {SHUFFLED: self.test, VAL_SHUFFLED: self.val, UNBIASED: unbiased}

    def content(self) -> dict[str, object]:
        """Return the settings as written into the data set's files, without those that do nothing."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {**MARK, **given} | ({} if self.companions is None else {UNBIASED: self.counts[UNBIASED]})

    def faults(self, multiple: int = 2) -> list[str]:
        """See `GeneratedSettings`."""
        faults = super().faults(multiple)
        if self.companions is not None and not 0 <= self.companions <= 1:
            faults.append(f"companions = {self.companions} is not a probability in 0..1")
        if self.unbiased is not None and self.companions is None:
            faults.append(f"unbiased = {self.unbiased} goes with companions alone")
        if self.seconds * self.fps > MOST_FRAMES:
            faults.append(f"seconds = {self.seconds} at fps = {self.fps} give more than {MOST_FRAMES} frames")
        elif self.fps <= 0 or self.seconds <= 0 or len(self.times) < 2:
            faults.append(f"seconds = {self.seconds} at fps = {self.fps} give fewer than 2 frames")
        return faults


def folder(options: Mapping[str, object]) -> str:
    """Return the data set's folder, such as `demo_companions0.9_seed3`."""
    companions, seed = options.get("companions"), options.get("seed") or 0
    parts = ["demo" if all(options.get(name) is None for name in MATERIAL) else "demo_photos"]
    parts += [] if companions is None else [f"companions{companions:g}"]
    return "_".join([*parts, f"seed{seed}"] if seed else parts)


def size(options: Mapping[str, Any]) -> Size:
    """Return how many classes and clips the data set of `options` has."""
    given = {name: value for name, value in options.items() if name not in MATERIAL}
    return DemoSettings(**given).expected(len(KINDS), boxes=True)


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
    **given: Any,
) -> None:
    """Make the demo data set in `out`, or finish one that was interrupted; a finished one is left as it is.

    Writes clips/<split>/<id>.mp4, manifest.csv (a row's note names the silent things that are seen), classes.txt,
    boxes.csv (the sounding thing's box in every frame: pixels, x2 and y2 exclusive), segments.csv (what is heard and
    seen when), quarantine.csv (no rows), preview.png and, last, summary.json. The same settings give the same files on
    any number of workers.

    Args:
        out: the folder, made if missing.
        seed: another seed gives another data set.
        workers: processes; None takes the machine's cores.
        progress: called after every clip.
        overwrite: replace a data set made with other settings.
        things: pictures with transparency, a folder a kind; None: glyphs.
        sounds: recordings, a folder a kind; None: timbres.
        grounds: pictures; None: textures.
        **given: `train`, `val`, `test`, `size`, `seconds`, `fps`, `companions`, `unbiased` of `DemoSettings`.

    Raises:
        UsageError: impossible settings, too few files, or `out` holds a data set of other settings and `overwrite` is
            not given.
        DataError: `out` cannot be written to, or a picture or recording cannot be read.
    """
    settings = DemoSettings(**given, seed=seed)
    settings.check()
    kit = find_kit(things, sounds, grounds, seed)
    folders = {name: str(path) for name, path in zip(MATERIAL, (things, sounds, grounds), strict=True) if path}
    content = settings.content() | folders
    out = Path(out)
    with writing(out):
        files = (clip_path(out, *clip) for clip in settings.clips)
        outputs = (*OUTPUTS, BOXES_NAME, SEGMENTS_NAME, CLIPS_FOLDER)
        if claim(out, content, outputs, files, overwrite=overwrite):
            return
        check_photos(kit.photos)
        for split in dict.fromkeys(split for split, _ in settings.clips):
            (out / CLIPS_FOLDER / split).mkdir(parents=True, exist_ok=True)
        found = list(in_processes(partial(_write_one, out, settings, kit), settings.clips, workers, progress))
        _write_tables(out, settings, kit, found, content)


def clip_stage(settings: DemoSettings, split: str, index: int, kit: Kit = GENERATED) -> Stage:
    """Draw a clip, which seed, split and index alone decide."""
    seconds = len(settings.times) / settings.fps  # whole frames
    clip = draw_cast(settings.seed, split, index, seconds, settings.companions, kit.kinds)
    return draw_stage(random_of(settings.seed, split, index, stream=3), clip, kit.of(FILES_OF.get(split, split)))


def clip_sound(settings: DemoSettings, split: str, index: int, stage: Stage) -> np.ndarray:
    """Return a clip's sound, float32 [S] at 16 kHz."""
    return render_sound(random_of(settings.seed, split, index, stream=4), stage)


def source_boxes(stage: Stage, settings: DemoSettings) -> np.ndarray:
    """Return the boxes of what sounds, int [T, 4]."""
    return boxes(stage, stage.clip.sources()[0], settings.times, settings.size)


def _write_one(out: Path, settings: DemoSettings, kit: Kit, clip: tuple[str, int]) -> tuple[np.ndarray, Clip]:
    """Write one clip unless its file exists (files are written atomically). Return its boxes int [T, 4] and things."""
    stage = clip_stage(settings, *clip, kit)
    path = clip_path(out, *clip)
    if not path.exists():
        frames = render_frames(stage, settings.times, settings.size)
        sound = clip_sound(settings, *clip, stage)
        # No B-frames: a frame predicted from later ones decodes only after them.
        write_clip(
            path, frames, settings.fps, sound, AUDIO_RATE, crf=CRF, preset=PRESET, bframes=False, quick_sound=True
        )
    return source_boxes(stage, settings), stage.clip


def _write_tables(
    out: Path, settings: DemoSettings, kit: Kit, found: list[tuple[np.ndarray, Clip]], content: Mapping[str, object]
) -> None:
    """Write what stands beside the clips, the summary last."""
    rows = [_row(out, settings, *clip, made) for clip, (_, made) in zip(settings.clips, found, strict=True)]
    manifest = write_manifest(out, rows, [kind.name for kind in kit.kinds])
    lines: list[tuple[object, ...]] = [("id", "frame", "x1", "y1", "x2", "y2")]
    for row, (of_clip, _) in zip(rows, found, strict=True):
        lines += [(row.id, frame, *map(int, box)) for frame, box in enumerate(of_clip)]
    write_text(out / BOXES_NAME, csv_text(lines))
    events = {row.id: made.segments() for row, (_, made) in zip(rows, found, strict=True)}
    write_text(out / SEGMENTS_NAME, segments_csv(events, rows, modality=True))
    draw_preview(out / PREVIEW_NAME, kit.kinds, _examples(settings, kit), settings.size, settings.companions)
    kinds = {row.id: [_sounding(made)] for row, (_, made) in zip(rows, found, strict=True)}
    write_summary(out, "demo", content, manifest, kinds)


def _sounding(clip: Clip) -> str:
    return clip.things[clip.sources()[0]].kind


def _row(out: Path, settings: DemoSettings, split: str, index: int, made: Clip) -> ManifestRow:
    path = clip_path(out, split, index).relative_to(out).as_posix()
    label = "" if split == UNBIASED else _sounding(made)
    count, side = len(settings.times), settings.size
    note = " ".join(thing.kind for thing in made.things if thing.visible and not thing.sounding)
    return ManifestRow(
        clip_id(split, index), path, label, split, count / settings.fps, settings.fps, count, side, side, path, note
    )


def _examples(settings: DemoSettings, kit: Kit) -> list[Example]:
    """Return the first clip of every class, rendered finer, for the preview."""
    first: dict[int, tuple[str, int]] = {}
    for clip in settings.clips:
        first.setdefault(source_of(settings.seed, *clip, kit.kinds), clip)
        if len(first) == len(kit.kinds):
            break
    examples = []
    for number, clip in sorted(first.items()):
        stage = clip_stage(settings, *clip, kit)
        side = FINER * settings.size
        frames = render_frames(stage, settings.times, side)
        found = boxes(stage, stage.clip.sources()[0], settings.times, side)
        examples.append(Example(kit.kinds[number], frames, found, clip_sound(settings, *clip, stage)))
    return examples
