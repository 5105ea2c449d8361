"""List files with a line `path label` a clip, as SVFormer and VideoMAE read them: taken in, and written out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from asgmcli.data.manifest import SPLITS, Manifest, ManifestRow
from asgmcli.errors import DataError
from asgmcli.files import read_text, write_text
from asgmcli.prepare.datasets.listing import SPLIT_WORDS, Candidate, LayoutOptions, LeftOut, Listing, give_splits

LISTS = click.Option(
    ["--list", "lists"],
    multiple=True,
    metavar="SPLIT=FILE",
    help="List file of a split with a line `path label` a clip. May be repeated.",
)
CLASSES = click.Option(
    ["--classes"],
    type=click.Path(path_type=Path),
    help="Class names, one a line, for labels that are numbers.",
)


def read_lists(root: Path, options: LayoutOptions) -> Listing:
    """Read the clips of `options.lists`, (split, file) pairs; paths in them are relative to `root` or absolute.

    A path may hold spaces: the label is what follows the last tab, or else the last space or comma. Labels that are
    all whole numbers are places in `options.classes`, or are kept as names where no such file is given; -1 and no
    label at all mean unlabelled. An empty split is decided by a seeded hash.

    Raises:
        DataError: a list that cannot be read, an unknown split, a label outside the class names.
    """
    names = _class_names(options.classes)
    found: list[Candidate] = []
    left_out: list[LeftOut] = []
    faults: list[str] = []
    for split, file in options.lists:
        if split and split not in SPLIT_WORDS:
            raise DataError(f"--list {split}={file}: '{split}' is none of train, val, test.")
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip():
                continue
            path, label = split_line(line)
            if names is not None and label:
                if not label.isdecimal() or int(label) >= len(names):
                    faults.append(f"{file} line {number}: label '{label}' is not a place in {options.classes}")
                    continue
                label = names[int(label)]
            target = root / path
            if "\0" in path or not target.is_file():
                left_out.append(LeftOut(path, str(target), "missing", f"line {number} of {file.name}"))
                continue
            found.append(Candidate(path, target, label, SPLIT_WORDS[split] if split else ""))
    if faults:
        raise DataError("These lists cannot be used:\n  " + "\n  ".join(faults[:20]))
    if not found:
        listed = ", ".join(str(file) for _, file in options.lists)
        raise DataError(
            f"None of the {len(left_out)} clips of {listed} exists; paths are relative to {root} (--root) or absolute."
        )
    return give_splits(found, left_out, options, names or _numbered(found))


def split_line(line: str) -> tuple[str, str]:
    """Return (path, label) of one line; the label is "" if the clip is unlabelled."""
    text = line.strip()
    for mark in ("\t", " ", ","):
        path, found, label = text.rpartition(mark)
        # "my clip.mp4" has a space but no label: what follows it names a file.
        if found and "." not in label and "/" not in label:
            label = label.strip()
            return path.strip(), "" if label == "-1" else label
    return text.rstrip(","), ""


def write_lists(manifest: Manifest, folder: Path, labeled: Iterable[ManifestRow] = ()) -> list[Path]:
    """Write `train.txt`, `val.txt` and `test.txt` with a line `path class-number` a clip (-1 where unlabelled).

    Paths are absolute. With `labeled`, also `train_labeled.txt` and `train_unlabeled.txt`, which share out train.txt.
    """
    chosen = {row.id for row in labeled}
    parts = {name: manifest.of_split(name) for name in SPLITS}
    if chosen:
        parts["train_labeled"] = [row for row in parts["train"] if row.id in chosen]
        parts["train_unlabeled"] = [row for row in parts["train"] if row.id not in chosen]
    written: list[Path] = []
    for name, rows in parts.items():
        if rows:
            lines = (f"{os.path.abspath(manifest.resolve(row))} {manifest.label_index(row)}\n" for row in rows)
            written.append(folder / f"{name}.txt")
            write_text(written[-1], "".join(lines))
    return written


def _lines(file: Path) -> list[str]:
    try:
        return read_text(file).split("\n")
    except OSError as error:
        raise DataError(f"The list {file} cannot be read ({error.strerror}).") from None


def _class_names(file: Path | None) -> list[str] | None:
    """Read class names, one a line; a number before the name, as in classInd.txt, is dropped."""
    if file is None:
        return None
    names = [line.strip() for line in _lines(file) if line.strip()]
    parts = [name.split(maxsplit=1) for name in names]
    if all(len(part) == 2 and part[0].isdecimal() for part in parts):
        return [part[1] for part in parts]
    return names


def _numbered(found: list[Candidate]) -> list[str] | None:
    """Return the class names in numerical order if all are whole numbers, else None."""
    labels = {clip.label for clip in found if clip.label}
    return sorted(labels, key=int) if all(label.isdecimal() for label in labels) else None
