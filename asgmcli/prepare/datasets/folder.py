"""Any folder of videos: class folders, or a CSV with paths and labels, or list files `path label`."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import click

from asgmcli.errors import DataError
from asgmcli.files import MOST_TEXT, read_bytes
from asgmcli.prepare.datasets.listing import (
    DRAWN_SPLITS,
    SPLIT_WORDS,
    VIDEO_SUFFIXES,
    Candidate,
    LayoutOptions,
    LeftOut,
    Listing,
    give_splits,
    walk_files,
)
from asgmcli.prepare.datasets.lists import CLASSES, LISTS, read_lists

TITLE = "your own clips: class folders of videos, a CSV (path, label), or list files"
ROOT_HELP = """\
--root is one of
  - a folder with one folder a class, each holding videos (mp4, avi, mkv, webm, mov, ...); with folders train, val and
    test above the class folders where the split is fixed; videos directly under it, and those in a folder `unlabelled`
    or `unlabeled`, have no label;
  - a CSV file with a header naming its columns: path (relative to the CSV or absolute), label (empty = unlabelled) and,
    if you like, split (train, val, test) and id;
  - a text file with a line `path label` a clip, as SVFormer and VideoMAE use them."""
PATH_WORDS = ("path", "file", "filename", "video", "clip")
UNLABELED_WORDS = ("unlabelled", "unlabeled")
"""Names of a folder that is no class."""
# A missing clip of a user's own list is a fault, unlike in online data sets that shrink.
MISSING_IS_BAD = True
MORE_LABELS = click.Option(
    ["--more-labels"],
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    callback=lambda _context, _option, value: value or None,
    help="CSV (path or id, label) with labels of clips that have none, as `asgm next` writes it; repeatable.",
)
OPTIONS = (*DRAWN_SPLITS, LISTS, CLASSES, MORE_LABELS)


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the clips of a folder, a CSV or list files; `root` is the folder or the file.

    Clips without a split of their own get one by a seeded hash of their id, unlabelled ones go to train.

    Raises:
        DataError: nothing there, or a CSV that cannot be understood.
    """
    if options.lists:
        return _labelled(read_lists(root, options), options)
    if root.is_file():
        if root.suffix.lower() == ".csv":
            return _labelled(_from_csv(root, options), options)
        return _labelled(read_lists(root.parent, replace(options, lists=(("", root),))), options)
    return _labelled(_from_folders(root, options), options)


def _labelled(listing: Listing, options: LayoutOptions) -> Listing:
    """Return the listing with the labels of `--more-labels`: those clips stay in the split that they were in.

    Raises:
        DataError: the file cannot be understood, or names a clip that is not there or has another label.
    """
    files: Sequence[Path] = options.own.get("more_labels") or ()
    before = {*listing.classes, *(clip.label for clip in listing.candidates)} - {""}
    for file in files:
        listing = _labelled_by(file, listing)
    if not files:
        return listing
    listing.notes.extend(_new_classes(before, listing))
    names = [*listing.classes, *sorted({clip.label for clip in listing.candidates if clip.label} - {*listing.classes})]
    return replace(listing, classes=names if options.classes else sorted(names))


def _new_classes(before: set[str], listing: Listing) -> list[str]:
    """Return a note for each class that more labels brought: it may be a slip of the pen."""
    known = {name.lower(): name for name in sorted(before)}
    notes = []
    for name, count in sorted(Counter(clip.label for clip in listing.candidates if clip.label).items()):
        if before and name not in before:
            near = get_close_matches(name.lower(), list(known), n=1, cutoff=0.0)
            notes.append(
                f"--more-labels brings a new class, {name!r} ({count} clips); the nearest that was there is "
                f"{known[near[0]]!r}: if that is meant, mend the list"
            )
    return notes


def _labelled_by(file: Path, listing: Listing) -> Listing:
    try:
        text = read_bytes(file, MOST_TEXT).decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if "label" not in (reader.fieldnames or ()) or not {"id", "path"} & set(reader.fieldnames or ()):
        raise DataError(f"{file}: the first line must name the columns label and path or id.")
    by_id = {clip.id: place for place, clip in enumerate(listing.candidates)}
    later = {*listing.later}
    by_path = {str(clip.path.absolute()): place for place, clip in enumerate(listing.candidates)}
    for cells in reader:
        label, where = (cells["label"] or "").strip(), f"{file}, line {reader.line_num}"
        if not label:
            continue
        path = (cells.get("path") or "").strip()
        places = [str(Path(base, path).absolute()) for base in (Path(), file.parent)] if path else []
        place = by_id.get((cells.get("id") or "").strip())
        place = next((by_path[name] for name in places if name in by_path), None) if place is None else place
        if place is None:
            raise DataError(f"{where}: no clip of this id or path here ({cells.get('id') or path}).")
        clip = listing.candidates[place]
        if clip.label not in ("", label):
            raise DataError(f"{where}: {clip.id} has the label {clip.label} already, not {label}.")
        if not clip.label:
            later.add(clip.id)
            listing.candidates[place] = replace(clip, label=label, split=clip.split or "train")
    return replace(listing, later=frozenset(later))


def _from_folders(root: Path, options: LayoutOptions) -> Listing:
    tops = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    fixed = bool(tops) and all(name.lower() in SPLIT_WORDS for name in tops)
    found: list[Candidate] = []
    left_out: list[LeftOut] = []
    for file in walk_files(root):
        parts = file.relative_to(root).parts
        name = "/".join(parts)
        if file.suffix.lower() not in VIDEO_SUFFIXES:
            left_out.append(LeftOut(name, str(file), "not_a_video", f"its suffix is '{file.suffix}'"))
            continue
        split = SPLIT_WORDS[parts[0].lower()] if fixed and len(parts) > 1 else ""
        folders = parts[1:-1] if split else parts[:-1]
        found.append(Candidate(name, file, folders[0] if folders else "", split))
    if not found:
        raise DataError(f"No video under {root}.\n{ROOT_HELP}")
    words = sorted({clip.label for clip in found if clip.label.lower() in UNLABELED_WORDS})
    found = [replace(clip, label="") if clip.label in words else clip for clip in found]
    listing = give_splits(found, left_out, options)
    listing.notes += [f"clips in a folder {name!r} count as unlabelled, not as a class of that name" for name in words]
    return listing


def _from_csv(file: Path, options: LayoutOptions) -> Listing:
    text = read_bytes(file, MOST_TEXT).decode("utf-8-sig", errors="surrogateescape")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    path_name = next((names[word] for word in PATH_WORDS if word in names), None)
    if path_name is None or "label" not in names:
        raise DataError(
            f"{file}: the first line must name the columns path and label (and, if you like, split and id); "
            f"it reads '{','.join(reader.fieldnames or ())}'."
        )
    found: list[Candidate] = []
    left_out: list[LeftOut] = []
    faults: list[str] = []
    for cells in reader:
        path = (cells[path_name] or "").strip()
        split = (cells[names["split"]] or "").strip().lower() if "split" in names else ""
        if not path or "\0" in path:
            faults.append(f"line {reader.line_num}: the path is empty or holds a zero byte")
            continue
        if split and split not in SPLIT_WORDS:
            faults.append(f"line {reader.line_num}: split '{split}' is none of train, val, test")
            continue
        # Files named after an id lie below a folder: no id may lead out of it.
        inside = "/".join(part for part in Path(path).parts if part not in ("..", Path(path).anchor))
        name = ((cells[names["id"]] or "").strip() if "id" in names else "") or inside
        target = file.parent / path
        if not target.is_file():
            left_out.append(LeftOut(name, str(target), "missing", f"line {reader.line_num} of {file.name}"))
            continue
        label = (cells[names["label"]] or "").strip()
        found.append(Candidate(name, target, label, SPLIT_WORDS[split] if split else ""))
    if faults:
        raise DataError(f"{file} cannot be used:\n  " + "\n  ".join(faults[:20]))
    if not found:
        raise DataError(
            f"None of the {len(left_out)} clips that {file} names exists; paths are relative to its folder."
        )
    return give_splits(found, left_out, options)
