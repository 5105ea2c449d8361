"""Pictures with their sound: code shared by the two sound-localization data sets."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from asgmcli.data.manifest import ManifestRow
from asgmcli.errors import DataError
from asgmcli.files import read_text
from asgmcli.prepare.datasets.listing import SPLIT_WORDS, VIDEO_SUFFIXES, Candidate, LayoutOptions, LeftOut, walk_files

ID_LISTS = click.Option(
    ["--list", "lists"], multiple=True, metavar="SPLIT=FILE", help="Ids of a split, one a line. May be repeated."
)
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp"))
SOUND_SUFFIXES = frozenset((".wav", ".flac", ".mp3", ".m4a", ".ogg"))


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle around a sound source, in fractions of the picture.

    `annotator` counts the people who drew, from 1; 0 where all boxes are one agreed annotation.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    annotator: int = 0


def boxes_csv(boxes: Mapping[str, Sequence[Box]], rows: Sequence[ManifestRow]) -> str:
    """Return the text of boxes.csv: each row's boxes on its middle frame, in pixels, with who drew them."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "frame", "x1", "y1", "x2", "y2", "annotator"))
    for row in rows:
        for box in boxes.get(row.id, ()):
            if box.x1 >= box.x2 or box.y1 >= box.y2:
                continue  # drawn outside the picture
            corners = (box.x1 * row.width, box.y1 * row.height, box.x2 * row.width, box.y2 * row.height)
            writer.writerow((row.id, row.frames // 2, *corners, box.annotator))
    return stream.getvalue()


def read_ids(options: LayoutOptions) -> dict[str, list[str]]:
    """Read the ids of `options.lists` by split: one a line, ignoring what follows a comma and suffixes such as .jpg.

    Raises:
        DataError: a list that cannot be read, or an unknown split.
    """
    chosen: dict[str, list[str]] = {}
    for split, file in options.lists:
        if split not in SPLIT_WORDS:
            raise DataError(f"--list {split}={file}: '{split}' is none of train, val, test.")
        try:
            lines = read_text(file).splitlines()
        except OSError as error:
            raise DataError(f"The list {file} cannot be read ({error.strerror}).") from None
        ids = (line.split(",")[0].strip() for line in lines)
        chosen.setdefault(SPLIT_WORDS[split], []).extend(
            Path(name).stem if Path(name).suffix in IMAGE_SUFFIXES else name for name in ids if name
        )
    return chosen


def find_pairs(
    root: Path, splits: dict[str, str], labels: dict[str, str], held_back: Collection[str] = (), others: str = ""
) -> tuple[list[Candidate], list[LeftOut]]:
    """Find the pairs under `root`: a picture and a sound of one name, anywhere.

    A video stands for both if there is no picture and sound of its name. Incomplete pairs and those on no list are left
    out.

    Args:
        root: the folder.
        splits: split by id of the pairs that lists name.
        labels: class names by id, if known.
        held_back: ids that must not be used.
        others: the split of ids in neither; "" leaves them out.

    Returns:
        (pairs, left out).
    """
    pictures: dict[str, Path] = {}
    sounds: dict[str, Path] = {}
    videos: dict[str, Path] = {}
    kinds = ((IMAGE_SUFFIXES, pictures), (SOUND_SUFFIXES, sounds), (VIDEO_SUFFIXES, videos))
    left_out: list[LeftOut] = []
    for file in walk_files(root):
        for suffixes, found in kinds:
            if file.suffix.lower() in suffixes:
                first = found.setdefault(file.stem, file)
                if first is not file:
                    left_out.append(LeftOut(file.stem, str(file), "duplicate_id", f"{first} has this name"))
    pairs: list[Candidate] = []
    for name in sorted({*pictures, *sounds, *videos, *splits}):
        split, label = splits.get(name, "" if name in held_back else others), labels.get(name, "")
        picture, sound = pictures.get(name), sounds.get(name)
        if not split:
            file = picture or sound or videos[name]
            left_out.append(LeftOut(name, str(file), "not_listed", "of no split"))
        elif picture and sound:
            pairs.append(Candidate(name, picture, label, split, audio=sound))
        elif name in videos:
            pairs.append(Candidate(name, videos[name], label, split))
        else:
            gone = [what for what, file in (("picture", picture), ("sound", sound)) if file is None]
            left_out.append(LeftOut(name, str(picture or sound or ""), "missing", f"no {' and no '.join(gone)}"))
    return pairs, left_out
