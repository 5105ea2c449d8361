"""The listing that a data set's module returns: which clips it should have, and where each would lie on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from asgmcli.data.manifest import SPLITS, Manifest, ManifestRow, split_order
from asgmcli.data.split import check_shares
from asgmcli.options import ShareType
from asgmcli.prepare.verify import Facts, Fault, FileCheck

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp", ".ogv")
)
# Names of the three splits in published lists.
SPLIT_WORDS = {
    **{name: name for name in SPLITS},
    "training": "train",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "testing": "test",
}


DRAWN_SPLITS = tuple(
    click.Option(
        [f"--{split}-share"],
        type=ShareType(),
        default=share,
        show_default=True,
        help=f"Clips of {split}, of those that have no split.",
    )
    for split, share in (("val", 0.1), ("test", 0.2))
)
"""LayoutOptions of data sets whose splits are drawn."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A clip that is on disk and on the lists, before its file is checked.

    `audio` is the file of its sound if separate, None if the clip holds it. `seconds` is the length in the
    official list, 0 if unknown. `split` is "" if it is still to be drawn. `more` are other files that the listing's own
    check reads. A file that is shorter than `lasts` seconds counts as so long, with the note `short`.
    """

    id: str
    path: Path
    label: str
    split: str
    audio: Path | None = None
    seconds: float = 0.0
    note: str = ""
    more: tuple[str, ...] = ()
    lasts: float = 0.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A clip or file that does not come into the manifest: one row of quarantine.csv."""

    id: str
    path: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """A user's choices for a listing; each data set's module reads those that concern it.

    `shares` are those of the splits if the data set defines none, `lists` are list files as (split, path), `classes` is
    a file with one class name a line. `own` holds the data set's own options by name, `out` is where the
    manifest goes.
    """

    seed: int = 0
    shares: tuple[tuple[str, float], ...] = (("train", 0.7), ("val", 0.1), ("test", 0.2))
    lists: tuple[tuple[str, Path], ...] = ()
    classes: Path | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    out: Path = Path()


@dataclass
class Listing:
    """All that a data set's module found.

    `official` counts the clips of the official list by (split, label), so that coverage can be told; it is empty where
    there is no such list. `files` are written beside the manifest: what each name's function makes of the rows kept.
    By `shares` and `seed` clips without a split get one, once it is known which of them can be used. `examine` checks a
    clip's files in place of `verify.examine`; `finish` makes what else the data set has once its manifest is written,
    and gives more entries of the summary. `same_paths` keeps clips of one and the same file in several splits, as some
    protocols have them; `needs_sound` leaves out clips without an audio stream. `contents` are the classes in each clip
    where one label does not tell them: those of its events, without the background. Clips of `later` got their label
    after the splits were drawn: they do not count in the draw, so that it stays as it was.
    """

    candidates: list[Candidate]
    classes: list[str]
    left_out: list[LeftOut] = field(default_factory=list)
    official: dict[tuple[str, str], int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: dict[str, Callable[[Sequence[ManifestRow]], str]] = field(default_factory=dict)
    shares: tuple[tuple[str, float], ...] = ()
    seed: int = 0
    examine: Callable[[FileCheck], Facts | Fault] | None = None
    finish: Callable[[Manifest, Callable[[str], None]], dict[str, object]] | None = None
    same_paths: bool = False
    needs_sound: bool = False
    contents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    later: frozenset[str] = frozenset()


def walk_files(root: Path) -> Iterator[Path]:
    """Yield all files under `root` except hidden ones, in sorted order, following linked folders, each once."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder, name)


def give_splits(
    found: list[Candidate], left_out: list[LeftOut], options: LayoutOptions, classes: list[str] | None = None
) -> Listing:
    """Return the listing of clips that may have no split yet: unlabelled ones go to train, others are to be drawn.

    Classes are sorted by name unless `classes` gives their order.

    Raises:
        UsageError: shares below 0 or not adding up to 1.
    """
    check_shares(dict(options.shares))
    whole = [clip if clip.label or clip.split else replace(clip, split="train") for clip in found]
    names = classes or sorted({clip.label for clip in whole if clip.label})
    return Listing(whole, names, left_out, shares=options.shares, seed=options.seed)


def index_videos(root: Path) -> dict[str, list[Path]]:
    """Return all videos under `root` by file name without suffix, each name's files in sorted order."""
    found: dict[str, list[Path]] = {}
    for file in walk_files(root):
        if file.suffix.lower() in VIDEO_SUFFIXES:
            found.setdefault(file.stem, []).append(file)
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an official list: the clip's id, which is its file's name without suffix.

    `folder` is the official split where that is called otherwise than `split`.
    """

    id: str
    label: str
    split: str
    seconds: float = 0.0
    folder: str = ""


def match_lists(
    root: Path, entries: list[Entry], classes: list[str], unused: frozenset[str] = frozenset(), why: str = "other_class"
) -> Listing:
    """Find the clips of official lists anywhere under `root`, by file name.

    Where several files have a clip's name, the one in a folder of its split, then of its class, is taken. Clips listed
    in two splits belong to the later one. Videos on no list are left out, as are those whose id is in `unused`,
    for the reason `why`.
    """
    index = index_videos(root)
    found: list[Candidate] = []
    left_out: list[LeftOut] = []
    official: dict[tuple[str, str], int] = {}
    for entry in sorted(entries, key=lambda entry: split_order(entry.split), reverse=True):
        official[entry.split, entry.label] = official.get((entry.split, entry.label), 0) + 1
        files = index.get(entry.id, [])
        if not files:
            left_out.append(LeftOut(entry.id, "", "missing", f"{entry.split}, {entry.label}"))
            continue
        taken = min(files, key=lambda file: _distance(file.relative_to(root).parts[:-1], entry))
        found.append(Candidate(entry.id, taken, entry.label, entry.split, seconds=entry.seconds))
        others = (file for file in files if file != taken)
        left_out += [LeftOut(entry.id, str(file), "duplicate_id", f"{taken} has this name") for file in others]
    listed = {entry.id for entry in entries}
    for name, files in index.items():
        if name not in listed:
            reason, detail = (why, "") if name in unused else ("not_listed", "no list names it")
            left_out += [LeftOut(name, str(file), reason, detail) for file in files]
    return Listing(found, classes, left_out, official)


def _distance(folders: tuple[str, ...], entry: Entry) -> tuple[int, bool]:
    """Return a sort key, smaller if a file's folders name the clip's split and class; spaces equal underscores."""
    plain = [folder.lower().replace("_", " ") for folder in folders]
    splits = {SPLIT_WORDS[folder] for folder in plain if folder in SPLIT_WORDS}
    elsewhere = 0 if (entry.folder or entry.split) in splits else 2 if splits else 1
    return elsewhere, entry.label.lower().replace("_", " ") not in plain
