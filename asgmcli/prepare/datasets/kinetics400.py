"""Kinetics-400 (Kay et al., 2017), as downloaded by its lists or from the CVDF's copy."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import click

from asgmcli.data.size import Size
from asgmcli.errors import DataError
from asgmcli.files import read_text
from asgmcli.prepare.datasets.listing import SPLIT_WORDS, Entry, LayoutOptions, Listing, match_lists

TITLE = "Kinetics-400: up to 240K train and 20K validation clips of 10 s"
ROOT_HELP = """\
Expected for kinetics400: the official lists train.csv and val.csv (or validate.csv; columns label, youtube_id,
time_start, time_end, split) in --root or a folder in it such as annotations/, and the clips ID_000001_000011.mp4
anywhere below, in class folders (train/playing drums/ or train/playing_drums/) or not (the CVDF's train/, val/).
306,000 clips, about 450 GB; many are gone from YouTube, which is normal. Lists and copies are published at
https://github.com/cvdfoundation/kinetics-dataset and https://www.deepmind.com/open-source/kinetics"""
MISSING_IS_BAD = False
OPTIONS = (
    click.Option(
        ["--test-from"],
        type=click.Choice(["val", "test"]),
        default="val",
        show_default=True,
        help="The official split that is evaluated.",
    ),
)
SIZE = Size(400, {"train": 240_000, "test": 20_000}, "the papers' round figures")
LIST_NAME = re.compile(r"(?:k(?:inetics)?[-_]?400[-_])?(train|val|valid|validate|validation|test)\.csv", re.IGNORECASE)
COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the official clips that are on disk.

    The papers evaluate on the official validation clips: these become split `test` unless the option `test_from` is
    "test", which keeps the official names.

    Raises:
        DataError: no lists, or lists that cannot be understood.
    """
    test_from = options.own.get("test_from", "val")
    files = [
        file for folder in (root, *sorted(root.iterdir())) if folder.is_dir() for file in sorted(folder.glob("*.csv"))
    ]
    entries: dict[str, Entry] = {}
    unused: set[str] = set()
    without_label = 0
    for file in files:
        named = LIST_NAME.fullmatch(file.name)
        if named is None:
            continue
        for clip, label, official, seconds in _read(file, SPLIT_WORDS[named[1].lower()]):
            split = official
            if test_from == "val":
                split = {"train": "train", "val": "test", "test": ""}[official]
            if not label or not split:
                unused.add(clip)
                without_label += not label
                continue
            entries[f"{split}/{clip}"] = Entry(clip, label, split, seconds, official)
    if not entries:
        raise DataError(f"No list of Kinetics-400 (train.csv, val.csv) in {root} or a folder in it.\n{ROOT_HELP}")
    listed = list(entries.values())
    unused -= {entry.id for entry in listed}
    listing = match_lists(root, listed, sorted({entry.label for entry in listed}), frozenset(unused), "other_split")
    if test_from == "val":
        listing.notes.append("split test holds the official validation clips, as the papers evaluate")
    if without_label:
        listing.notes.append(f"{without_label} listed clips have no label and are not used")
    return listing


def _read(file: Path, split: str) -> list[tuple[str, str, str, float]]:
    """Return (clip id, label, official split, seconds) of each line; class names with spaces, not underscores."""
    with io.StringIO(read_text(file), newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ()) and name != "label"]
        if missing:
            raise DataError(
                f"{file} has no column {', '.join(missing)}; the official list has {', '.join(COLUMNS)}, split."
            )
        lines: list[tuple[str, str, str, float]] = []
        for cells in reader:
            try:
                start, end = int(float(cells["time_start"])), int(float(cells["time_end"]))
            except (TypeError, ValueError):
                raise DataError(f"{file} line {reader.line_num}: time_start or time_end is not a number.") from None
            said = SPLIT_WORDS.get((cells.get("split") or "").strip().lower(), split)
            label = (cells.get("label") or "").strip().strip('"').replace("_", " ")
            lines.append((f"{cells['youtube_id']}_{start:06d}_{end:06d}", label, said, float(end - start)))
        return lines
