"""The manifest: the one CSV between `asgm prepare` and everything that reads clips."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asgmcli.errors import DataError
from asgmcli.files import MOST_TEXT, read_bytes, read_text, write_bytes, write_text

COLUMNS = ("id", "path", "label", "split", "duration", "fps", "frames", "width", "height", "audio", "note")
SPLITS = ("train", "val", "test")
"""The splits that every data set may have; a data set's own bear any other plain name."""
SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
MANIFEST_NAME = "manifest.csv"
CLASSES_NAME = "classes.txt"
FAULTS_SHOWN = 20
MOST_CLASSES_TEXT = 16 << 20  # bytes


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One clip. Paths are relative to the manifest's folder or absolute.

    `label` is a class name, "" where the clip is unlabelled; `split` is any plain name; `duration` is in seconds,
    `fps` in frames a second, `width` and `height` in pixels as shown (rotation applied). `audio` is the file that holds
    the sound: equal to `path` where the clip holds it, another file (.wav, .npy) where it is apart, "" where there is
    none.
    """

    id: str
    path: str
    label: str
    split: str
    duration: float
    fps: float
    frames: int
    width: int
    height: int
    audio: str
    note: str


@dataclass
class Manifest:
    """A manifest that was read: its rows in file order, the class names in index order, and its hash."""

    folder: Path
    rows: list[ManifestRow]
    classes: list[str]
    path: Path
    sha256: str
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._index = {name: number for number, name in enumerate(self.classes)}

    def resolve(self, row: ManifestRow) -> Path:
        """Return the file that holds the clip's pictures."""
        return self.folder / row.path

    def resolve_audio(self, row: ManifestRow) -> Path | None:
        """Return the file that holds the clip's sound, None without sound."""
        return self.folder / row.audio if row.audio else None

    def of_split(self, name: str) -> list[ManifestRow]:
        """Return the rows of a split in file order; none of train, val and test where the manifest lacks them.

        Raises:
            DataError: the manifest has no split of another name.
        """
        rows = [row for row in self.rows if row.split == name]
        if not rows and name not in SPLITS:
            raise DataError(f"{self.path}: no split {name!r} here; there are {', '.join(splits_of(self.rows))}.")
        return rows

    def label_index(self, row: ManifestRow) -> int:
        """Return the number of the row's class in `classes`, -1 if it is unlabelled."""
        return self._index[row.label] if row.label else -1


def split_order(name: str) -> tuple[int, str]:
    """Return the key by which splits are sorted: train, val, test, then all others by name."""
    return (SPLITS.index(name) if name in SPLITS else len(SPLITS), name)


def splits_of(rows: Iterable[ManifestRow]) -> list[str]:
    """Return the names of the splits that `rows` are in, sorted."""
    return sorted({row.split for row in rows}, key=split_order)


def read_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest: `path` is the CSV or the folder that holds it.

    Class names come from `classes.txt` beside it, one a line in index order; where that file is missing they are the
    sorted labels. Files named in the rows are not looked for: `check_files` does that.

    Raises:
        DataError: no such file, or anything wrong in it; all faults are named together with their line numbers.
    """
    file = Path(path)
    if file.is_dir():
        file = file / MANIFEST_NAME
    try:
        raw = read_bytes(file, MOST_TEXT)
    except OSError as error:
        raise DataError(
            f"No manifest at {file} ({error.strerror}). `asgm prepare NAME` makes one, by default in data/NAME."
        ) from None
    text = raw.decode("utf-8-sig", errors="surrogateescape")
    classes = _read_classes(file.parent / CLASSES_NAME)
    rows, faults = _parse(text, None if classes is None else frozenset(classes))
    if faults:
        more = f"\n  and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        listed = "\n  ".join(faults[:FAULTS_SHOWN])
        raise DataError(
            f"{file} cannot be used, {len(faults)} fault(s):\n  {listed}{more}\nMend it or prepare it anew."
        )
    if classes is None:
        classes = sorted({row.label for row in rows if row.label})
    return Manifest(file.parent, rows, classes, file, hashlib.sha256(raw).hexdigest())


def write_manifest(folder: str | Path, rows: Iterable[ManifestRow], classes: Sequence[str]) -> Manifest:
    """Write `manifest.csv` and `classes.txt` into `folder` and return them as read; each file is replaced whole.

    Raises:
        DataError: two rows share an id, a label is not among `classes`, a path is empty, or the folder cannot be
            written to.
    """
    target = Path(folder)
    text = _to_csv(rows)
    kept, faults = _parse(text, frozenset(classes))
    faults += [f"class name {name!r} is not one line of text" for name in classes if not name.strip() or "\n" in name]
    if faults:
        raise DataError(f"These rows are no manifest, nothing was written to {target}:\n  " + "\n  ".join(faults[:20]))
    raw = text.encode("utf-8", errors="surrogateescape")
    write_text(target / CLASSES_NAME, "".join(f"{name}\n" for name in classes))
    write_bytes(target / MANIFEST_NAME, raw)
    return Manifest(target, kept, list(classes), target / MANIFEST_NAME, hashlib.sha256(raw).hexdigest())


def check_files(manifest: Manifest, rows: Iterable[ManifestRow], shown: int = 5) -> None:
    """Check that the picture and sound files of `rows` exist.

    Raises:
        DataError: some are gone; names the first `shown` and counts them all.
    """
    gone: list[str] = []
    total = 0
    for row in rows:
        total += 1
        audio = manifest.resolve_audio(row)
        for file in {manifest.resolve(row), audio or manifest.resolve(row)}:
            if not os.path.exists(file):
                gone.append(f"{row.id}: {file}")
                break
    if gone:
        more = f"\n  and {len(gone) - shown} more" if len(gone) > shown else ""
        raise DataError(
            f"{len(gone)} of {total} clips of {manifest.path} have no file:\n  "
            + "\n  ".join(gone[:shown])
            + more
            + "\nBring the files back, or run `asgm prepare` again so that the manifest leaves them out."
        )


def _read_classes(path: Path) -> list[str] | None:
    try:
        text = read_text(path, MOST_CLASSES_TEXT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    names = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if len(set(names)) != len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise DataError(f"{path} names a class twice: {', '.join(twice[:5])}. Each line is one class.")
    return names


def _parse(text: str, classes: frozenset[str] | None) -> tuple[list[ManifestRow], list[str]]:
    """Return the rows and faults of a manifest's text; labels are checked if `classes` is given."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, None)
    if header is None:
        return [], ["line 1: the file is empty; the first line must be " + ",".join(COLUMNS)]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        return [], [f"line 1: missing column {', '.join(missing)}; the columns are {','.join(COLUMNS)}"]
    order = [header.index(name) for name in COLUMNS]
    straight = order == list(range(len(COLUMNS)))
    width = len(header)
    rows: list[ManifestRow] = []
    faults: list[str] = []
    lines: dict[str, int] = {}
    try:
        for cells in reader:
            if len(cells) != width:
                if cells:
                    faults.append(f"line {reader.line_num}: {len(cells)} columns where the header has {width}")
                continue
            values = cells if straight else [cells[place] for place in order]
            row = _row(values, reader.line_num, faults)
            if row is None:
                continue
            first = lines.setdefault(row.id, reader.line_num)
            if first != reader.line_num:
                faults.append(f"line {reader.line_num}: id '{row.id}' was already used in line {first}")
            if classes is not None and row.label and row.label not in classes:
                faults.append(f"line {reader.line_num}: label '{row.label}' is not in {CLASSES_NAME}")
            rows.append(row)
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")
    return rows, faults


def _row(values: list[str], line: int, faults: list[str]) -> ManifestRow | None:
    """Return one checked row, or None with its faults added."""
    try:
        name, path, label, split, duration, fps, frames, width, height, audio, note = values
        row = ManifestRow(
            name, path, label, split, float(duration), float(fps), int(frames), int(width), int(height), audio, note
        )
        # One chained test for the good case; NaN fails it as well. A zero byte in a path would make every later call
        # of the operating system raise.
        if (
            name
            and path
            and SPLIT_NAME.fullmatch(split)
            and 0 <= row.duration < 1e9
            and 0 <= row.fps < 1e6
            and 0 <= row.frames < 1e9
            and 0 <= row.width < 1e9
            and 0 <= row.height < 1e9
            and "\0" not in path
            and "\0" not in audio
        ):
            return row
    except ValueError:
        pass
    faults.extend(f"line {line}: {fault}" for fault in _faults_of(dict(zip(COLUMNS, values, strict=True))))
    return None


def _faults_of(cells: dict[str, str]) -> list[str]:
    """Describe what is wrong with one row's cells."""
    faults = [f"{name} is empty" for name in ("id", "path") if not cells[name]]
    faults += [f"{name} holds a zero byte" for name in ("path", "audio") if "\0" in cells[name]]
    if not SPLIT_NAME.fullmatch(cells["split"]):
        faults.append(f"split '{cells['split']}' is no plain name such as {', '.join(SPLITS)}")
    kinds: dict[str, tuple[Callable[[str], float], str]] = {
        "duration": (float, "seconds"),
        "fps": (float, "frames a second"),
        "frames": (int, "a whole number"),
        "width": (int, "pixels"),
        "height": (int, "pixels"),
    }
    for name, (kind, unit) in kinds.items():
        try:
            good = 0 <= kind(cells[name]) < 1e9
        except ValueError:
            good = False
        if not good:
            faults.append(
                f"{name} '{cells[name]}' is not a number of {unit}"
                if unit != "a whole number"
                else f"{name} '{cells[name]}' is not a whole number"
            )
    return faults or ["a number is out of range"]


def _to_csv(rows: Iterable[ManifestRow]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        # Rounded, so that the same clips give the same bytes on any machine.
        numbers = (round(row.duration, 4), round(row.fps, 4), row.frames, row.width, row.height)
        writer.writerow((row.id, row.path, row.label, row.split, *numbers, row.audio, row.note))
    return stream.getvalue()
