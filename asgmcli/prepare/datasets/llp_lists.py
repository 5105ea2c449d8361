"""The lists of LLP (Tian et al., ECCV 2020) as they are distributed: bags of labels, and dense labels of val and test.

Nothing is repaired: rows that the released evaluation passes over are passed over here, and told.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asgmcli.errors import DataError
from asgmcli.files import MOST_TEXT, read_bytes
from asgmcli.prepare.datasets.listing import LeftOut

CLASSES = (
    "Speech", "Car", "Cheering", "Dog", "Cat", "Frying_(food)", "Basketball_bounce", "Fire_alarm", "Chainsaw", "Cello",
    "Banjo", "Singing", "Chicken_rooster", "Violin_fiddle", "Vacuum_cleaner", "Baby_laughter", "Accordion",
    "Lawn_mower", "Motorcycle", "Helicopter", "Acoustic_guitar", "Telephone_bell_ringing", "Baby_cry_infant_cry",
    "Blender", "Clapping",
)  # fmt: skip
"""In the order of the released networks' outputs."""
SECONDS = 10
ID_LETTERS = 11
"""Of a YouTube id, which arrays and videos are named by; it may hold any `_` and `-`."""
BAGS = {"train": "AVVP_train.csv", "val": "AVVP_val_pd.csv", "test": "AVVP_test_pd.csv"}
DENSE = ("AVVP_eval_audio.csv", "AVVP_eval_visual.csv")
"""Of sound and of picture; val and test together."""
NO_LENGTH, NO_CLIP = "no_length", "no_clip"


@dataclass
class Clip:
    """A clip of the lists.

    Attributes:
        id: its filename there, such as `BjCEufrlXm4_20_30`.
        split: train, val or test.
        features: what its arrays and its video are named by: the first 11 letters.
        labels: its bag, uint8 [C] of 0 and 1.
        events: what is heard and seen, uint8 [2, C, T] of 0 and 1; None on train.
    """

    id: str
    split: str
    features: str
    labels: NDArray[np.uint8]
    events: NDArray[np.uint8] | None


@dataclass
class Lists:
    """All lists.

    Attributes:
        clips: by filename, in the order of the train, val and test lists.
        ignored: a row each of what is passed over: an event without length, or of no clip of val or test.
        hashes: SHA-256 of each list.
    """

    clips: dict[str, Clip]
    ignored: list[LeftOut] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)


def read_lists(folder: Path) -> Lists:
    """Read the lists in `folder`, or in `data` below it.

    Raises:
        DataError: a list is missing or is not as distributed: file, line and mend are named.
    """
    place = folder if (folder / BAGS["train"]).exists() else folder / "data"
    lists = Lists({})
    for split, name in BAGS.items():
        for line, cells in _rows(place / name, ("filename", "event_labels"), lists):
            where = f"{place / name}:{line}"
            clip = cells["filename"]
            if clip in lists.clips:
                raise DataError(f"{where}: {clip} is in {lists.clips[clip].split} already. Take one of the rows out.")
            labels = np.zeros(len(CLASSES), np.uint8)
            for label in cells["event_labels"].split(","):
                labels[_number(label, where)] = 1
            dense = None if split == "train" else np.zeros((2, len(CLASSES), SECONDS), np.uint8)
            lists.clips[clip] = Clip(clip, split, clip[:ID_LETTERS], labels, dense)
    for modality, name in enumerate(DENSE):
        _read_dense(place / name, modality, lists)
    return lists


def _read_dense(path: Path, modality: int, lists: Lists) -> None:
    """Paint the events of one list into the clips' grids, overlapping ones once."""
    for line, cells in _rows(path, ("filename", "onset", "offset", "event_labels"), lists):
        where = f"{path}:{line}"
        name, label = cells["filename"], _number(cells["event_labels"], where)
        onset, offset = (_second(cells[key], key, where) for key in ("onset", "offset"))
        clip = lists.clips.get(name)
        text = f"line {line}: {onset} to {offset} s, {cells['event_labels']}"
        if onset >= offset:
            lists.ignored.append(LeftOut(name, str(path), NO_LENGTH, text))
        elif clip is None or clip.events is None:
            lists.ignored.append(LeftOut(name, str(path), NO_CLIP, text))
        else:
            clip.events[modality, label, onset:offset] = 1


def _rows(path: Path, columns: tuple[str, ...], lists: Lists) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells of each row of a list; its hash is noted.

    Raises:
        DataError: the file is missing, is no text, or lacks a column.
    """
    try:
        raw = read_bytes(path, MOST_TEXT)
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such list. LLP's lists lie in --root, or in data below it.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}). Fetch it again.") from None
    lists.hashes[path.name] = hashlib.sha256(raw).hexdigest()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    header = [cell.strip() for cell in next(reader, [])]
    if missing := [name for name in columns if name not in header]:
        raise DataError(
            f"{path}:1: no column {', '.join(missing)}; the first line names {', '.join(columns)}, tabs in between."
        )
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            text = f"{len(cells)} columns where the first line has {len(header)}"
            raise DataError(f"{path}:{reader.line_num}: {text}. Mend the line, or fetch the list again.")
        yield reader.line_num, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _number(label: str, where: str) -> int:
    if label.strip() not in CLASSES:
        raise DataError(f"{where}: {label!r} is none of LLP's {len(CLASSES)} classes. Mend the line.")
    return CLASSES.index(label.strip())


def _second(text: str, name: str, where: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= SECONDS:
        raise DataError(f"{where}: {name} {text!r} is not a whole second of 0 to {SECONDS}. Mend the line.")
    return int(text)
