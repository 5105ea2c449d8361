"""AVE (Tian et al., ECCV 2018): videos of 10 s with one event each, seen and heard, of 28 categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from asgmcli.data.manifest import SPLITS, ManifestRow
from asgmcli.data.segments import SEGMENTS_NAME
from asgmcli.data.size import Size
from asgmcli.errors import DataError, InstallError
from asgmcli.files import read_text
from asgmcli.prepare.datasets.event_lists import MADE, Placed, finish_of, segments_of
from asgmcli.prepare.datasets.listing import Candidate, LayoutOptions, LeftOut, Listing, index_videos

if TYPE_CHECKING:
    from torch import Tensor

TITLE = "AVE: 4,143 events of 28 categories in videos of 10 s, seen and heard"
ROOT_HELP = """\
Expected for ave: Annotations.txt (Category&VideoID&Quality&StartTime&EndTime, with or without that line), the splits
train_order.h5, val_order.h5, test_order.h5 (or trainSet.txt, valSet.txt, testSet.txt) and the videos VideoID.mp4, each
anywhere under --root; features (audio_feature.h5, visual_feature.h5) by --features. 4,143 events in 4,097 videos, about
6 GB; 8.3 GB of features; published at https://github.com/YapengTian/AVE-ECCV18."""
MISSING_IS_BAD = False
SIZE = Size(29, {"train": 3339, "val": 402, "test": 402}, "the published list")
OPTIONS = (
    click.Option(
        ["--splits"],
        type=click.Choice(["h5", "txt"]),
        help="Which files say the splits.  [default: h5 where they are, else txt]",
    ),
    click.Option(["--drop-shared"], is_flag=True, help="Leave videos that are in val or test too out of train."),
    click.Option(
        ["--features"], metavar="DIR", help="Convert the released features (audio_feature.h5, visual_feature.h5) there."
    ),
    *MADE,
)
LIST_NAME = "Annotations.txt"
BACKGROUND = "background"
SECONDS = 10
FIELDS = ("Category", "VideoID", "Quality", "StartTime", "EndTime")
ORDERS = {split: f"{split}_order.h5" for split in SPLITS}
TEXTS = {split: f"{split}Set.txt" for split in SPLITS}


@dataclass(frozen=True)
class Event:
    """A row of the list: an event of `category` in a video, from `start` to `end` seconds."""

    category: str
    video: str
    quality: str
    start: int
    end: int


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the events whose videos are under `root`, each a clip of its own.

    Raises:
        DataError: no list or split, or one that cannot be understood.
    """
    path = _one(root, LIST_NAME)
    events, classes = read_annotations(path)
    splits, source, left_out = _splits(root, events, options.own.get("splits"))
    dropped = _shared(events, splits) if options.own.get("drop_shared") else set()
    index = index_videos(root)
    found: list[Candidate] = []
    official: dict[tuple[str, str], int] = {}
    for row, event in enumerate(events):
        name, split = clip_id(row, event), splits.get(row, "")
        files = index.get(event.video, [])
        if not split:
            left_out.append(LeftOut(name, str(files[0]) if files else "", "no_split", f"row {row} is in no split"))
            continue
        official[split, event.category] = official.get((split, event.category), 0) + 1
        if not files:
            left_out.append(LeftOut(name, "", "missing", f"{split}, {event.video}"))
        elif row in dropped:
            left_out.append(LeftOut(name, str(files[0]), "shared_video", f"{event.video} is in val or test too"))
        else:
            found.append(Candidate(name, files[0], event.category, split, lasts=SECONDS))
    left_out += _unused(index, {event.video for event in events})
    placed = {clip_id(row, one): [Placed(one.start, one.end, one.category, row)] for row, one in enumerate(events)}
    notes = [f"splits: {source}", *_told(events, splits, classes)]
    files_beside: dict[str, Callable[[Sequence[ManifestRow]], str]] = {SEGMENTS_NAME: partial(segments_of, placed)}
    return Listing(
        found,
        classes,
        left_out,
        official,
        notes,
        files_beside,
        same_paths=True,
        needs_sound=True,
        finish=finish_of(options, len(events)),
        contents={clip_id(row, one): frozenset((one.category,)) for row, one in enumerate(events)},
    )


def clip_id(row: int, event: Event) -> str:
    """Return the id of row `row` (from 0, no header) of the list: two rows may be of one video."""
    return f"{row:04d}_{event.video}"


def read_annotations(path: str | Path) -> tuple[list[Event], list[str]]:
    """Read AVE's list.

    Args:
        path: lines `Category&VideoID&Quality&Start&End`, with or without a line of such names before them.

    Returns:
        The events in the file's order, and the classes: categories by first appearance, `background` last.

    Raises:
        DataError: the file cannot be read, or a line is not such a one; all are named.
    """
    try:
        lines = read_text(path).split("\n")
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read ({error.strerror}).") from None
    events: list[Event] = []
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.split("&")[1:2] == ["VideoID"]):
            continue
        try:
            events.append(_event(line))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    if faults or not events:
        listed = "\n  ".join(faults[:20]) or "no line in it"
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DataError(
            f"{path} is not AVE's list ({'&'.join(FIELDS)}):\n  {listed}{more}\nFetch it again, or mend it."
        )
    return events, [*dict.fromkeys(event.category for event in events), BACKGROUND]


def _event(line: str) -> Event:
    """Return the event of one line.

    Raises:
        ValueError: what is wrong with it.
    """
    cells = [cell.strip() for cell in line.split("&")]
    if len(cells) != len(FIELDS) or not cells[0] or not cells[1]:
        raise ValueError(f"'{line[:60]}' is not {'&'.join(FIELDS)}")
    category, video, quality, *times = cells
    if not all(time.isdecimal() for time in times):
        raise ValueError(f"start '{times[0]}' and end '{times[1]}' are not whole seconds")
    start, end = int(times[0]), int(times[1])
    if start > end:
        raise ValueError(f"start {start} is after end {end}")
    if end > SECONDS:
        raise ValueError(f"end {end} is beyond the {SECONDS} s of a video")
    return Event(category, video, quality, start, end)


def segment_labels(events: Sequence[Event], classes: Sequence[str], segments: int = SECONDS) -> Tensor:
    """Return the class number of each second, int64 [n, segments], a row an event; the last class is background."""
    import torch  # not for `asgm prepare`, which needs no tensors

    return torch.from_numpy(_labels(events, classes, segments))


def _labels(events: Sequence[Event], classes: Sequence[str], segments: int = SECONDS) -> NDArray[np.int64]:
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.full((len(events), segments), len(classes) - 1, dtype=np.int64)
    for line, event in zip(labels, events, strict=True):
        line[event.start : event.end] = numbers[event.category]
    return labels


def _one(root: Path, name: str) -> Path:
    """Return the first file of this name under `root`.

    Raises:
        DataError: there is none.
    """
    found = sorted(root.rglob(name))
    if not found:
        raise DataError(f"No {name} under {root}.\n{ROOT_HELP}")
    return found[0]


def _splits(root: Path, events: Sequence[Event], asked: str | None) -> tuple[dict[int, str], str, list[LeftOut]]:
    """Return the split of each row, what told it, and rows of splits that are in no list.

    Raises:
        DataError: a split is missing, cannot be read, or shares a row with another.
    """
    there = {kind: _present(root, names) for kind, names in (("h5", ORDERS), ("txt", TEXTS))}
    kind = asked or ("h5" if any(there["h5"].values()) else "txt")
    names = ORDERS if kind == "h5" else TEXTS
    gone = [names[split] for split, path in there[kind].items() if path is None]
    if gone:
        raise DataError(f"{', '.join(gone)}: no such split under {root}. Bring it, or choose others by --splits.")
    splits: dict[int, str] = {}
    left_out: list[LeftOut] = []
    for split, path in there[kind].items():
        assert path is not None
        rows = _order(path, len(events)) if kind == "h5" else _rows(path, events, left_out)
        for row in rows:
            if row in splits:
                raise DataError(f"{path}: row {row} of the list is in {splits[row]} already. Fetch the splits again.")
            splits[row] = split
    return splits, f"{kind} ({', '.join(names.values())})", left_out


def _present(root: Path, names: Mapping[str, str]) -> dict[str, Path | None]:
    return {split: next(iter(sorted(root.rglob(name))), None) for split, name in names.items()}


def _order(path: Path, count: int) -> list[int]:
    """Return the row numbers of an h5 split.

    Raises:
        DataError: the file cannot be read, or names rows that the list lacks. InstallError: no h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise InstallError(
            f"{path}: h5py is not installed, which reads it. Install the extra: pip install 'asgm[ave]', or take the "
            "text splits: --splits txt"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            rows = [int(row) for row in np.asarray(file["order"]).ravel()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no data set 'order' of row numbers ({error}). Fetch it again.") from None
    wrong = [row for row in rows if not 0 <= row < count]
    if wrong:
        raise DataError(f"{path}: row {wrong[0]} of a list of {count} rows. Are list and splits of one release?")
    return rows


def _rows(path: Path, events: Sequence[Event], left_out: list[LeftOut]) -> list[int]:
    """Return the row numbers of a text split: each of its lines is a row of the list; others are left out."""
    waiting: dict[Event, list[int]] = defaultdict(list)
    for row, event in enumerate(events):
        waiting[event].append(row)
    rows = []
    for event in read_annotations(path)[0]:
        if waiting[event]:
            rows.append(waiting[event].pop(0))
        else:
            times = f"{event.category} {event.start}-{event.end}"
            left_out.append(LeftOut(event.video, "", "not_annotated", f"{path.name}: {times}"))
    return rows


def _shared(events: Sequence[Event], splits: Mapping[int, str]) -> set[int]:
    """Return the rows of train whose video is in val or test too."""
    judged = {events[row].video for row, split in splits.items() if split != "train"}
    return {row for row, split in splits.items() if split == "train" and events[row].video in judged}


def _unused(index: Mapping[str, list[Path]], listed: set[str]) -> list[LeftOut]:
    """Return the videos that no row names, and files of a name that another one has."""
    found = []
    for name, files in index.items():
        if name not in listed:
            found += [LeftOut(name, str(file), "not_listed", "no row names it") for file in files]
        else:
            found += [LeftOut(name, str(file), "duplicate_id", f"{files[0]} has this name") for file in files[1:]]
    return found


def _told(events: Sequence[Event], splits: Mapping[int, str], classes: Sequence[str]) -> list[str]:
    """Return sentences on videos that splits share, and on the background of each split."""
    videos = {split: {events[row].video for row, own in splits.items() if own == split} for split in SPLITS}
    shared = [
        f"{len(videos['train'] & videos[other])} in train and {other}"
        for other in ("val", "test")
        if videos["train"] & videos[other]
    ]
    labels = _labels(events, classes)
    shares = []
    for split in SPLITS:
        rows = [row for row, own in splits.items() if own == split]
        if rows:
            shares.append(f"{split} {100 * float((labels[rows] == len(classes) - 1).mean()):.1f}%")
    notes = [f"background, of the list's segments: {', '.join(shares)}"]
    return [f"videos of two splits: {', '.join(shared)} (--drop-shared)", *notes] if shared else notes
