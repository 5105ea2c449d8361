"""One's own videos with the events that are seen and heard in them: a CSV with a row an event."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import click

from asgmcli.data.manifest import ManifestRow
from asgmcli.data.segments import SEGMENTS_NAME
from asgmcli.data.split import check_shares
from asgmcli.errors import DataError, UsageError
from asgmcli.files import MOST_TEXT, read_bytes
from asgmcli.prepare.datasets.event_lists import MADE, Placed, finish_of, segments_of
from asgmcli.prepare.datasets.listing import DRAWN_SPLITS, SPLIT_WORDS, Candidate, LayoutOptions, LeftOut, Listing

TITLE = "your own videos of any length, with a list of events that are seen and heard"
ROOT_HELP = """\
--list names a CSV file with the columns path, label, start, end and, if you like, split (train, val, test): a row an
event, in seconds; a row with the path alone for a video without one. Paths are relative to --root, or absolute. Events
of a video must not overlap."""
MISSING_IS_BAD = True
BACKGROUND = "background"
BEYOND_S = 0.5  # that a container's length and a stopwatch may differ by
OPTIONS = (
    click.Option(["--list", "event_list"], metavar="FILE.csv", help="Events: path, label, start, end[, split]."),
    click.Option(
        ["--seconds"],
        type=click.IntRange(1, 600),
        default=10,
        show_default=True,
        help="Windows that videos are cut into; a recipe's clip.seconds must say the same.",
    ),
    *DRAWN_SPLITS,
    *MADE,
)
COLUMNS = ("path", "label", "start", "end")


@dataclass
class _Clip:
    """A video of the list: its events, its split, and the line that names it first."""

    line: int
    split: str = ""
    events: list[Placed] = field(default_factory=list)


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the videos of the CSV file with their events.

    Raises:
        UsageError: no list. DataError: a list that cannot be understood, or no video of it.
    """
    if not options.own.get("event_list"):
        raise UsageError(f"--list FILE.csv is needed: it says what happens when.\n{ROOT_HELP}")
    check_shares(dict(options.shares))
    path = Path(options.own["event_list"])
    clips = read_events(path)
    found: list[Candidate] = []
    left_out: list[LeftOut] = []
    for name, clip in clips.items():
        file = root / name
        if file.is_file():
            labels = {event.label for event in clip.events}
            label = next(iter(labels)) if len(labels) == 1 else ""
            found.append(Candidate(name, file, label, clip.split))
        else:
            left_out.append(LeftOut(name, str(file), "missing", f"line {clip.line} of {path.name}"))
    if not found:
        raise DataError(f"None of the {len(clips)} videos that {path} names exists; paths are relative to {root}.")
    classes = sorted({event.label for clip in clips.values() for event in clip.events})
    placed = {name: clip.events for name, clip in clips.items()}
    contents = {name: frozenset(event.label for event in clip.events) for name, clip in clips.items()}
    files: dict[str, Callable[[Sequence[ManifestRow]], str]] = {SEGMENTS_NAME: partial(_segments, path, placed)}
    return Listing(
        found,
        [*classes, BACKGROUND],
        left_out,
        files=files,
        shares=options.shares,
        seed=options.seed,
        needs_sound=True,
        finish=finish_of(options),
        contents=contents,
    )


def read_events(path: Path) -> dict[str, _Clip]:
    """Read the list of events by video.

    Raises:
        DataError: the file cannot be read, or holds anything wrong; all faults are named with their lines.
    """
    try:
        text = read_bytes(path, MOST_TEXT).decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read ({error.strerror}).") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; the first line must name {','.join(COLUMNS)}[,split]."
        )
    reader.fieldnames = names
    clips: dict[str, _Clip] = {}
    faults: list[str] = []
    for cells in reader:
        try:
            _take(cells, reader.line_num, clips)
        except ValueError as error:
            faults.append(f"line {reader.line_num}: {error}")
    faults += [fault for name, clip in clips.items() for fault in _overlaps(name, clip.events)]
    if faults or not clips:
        listed = "\n  ".join(faults[:20]) or "it names no video"
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DataError(f"{path} cannot be used:\n  {listed}{more}\nMend it and run the same command again.")
    return clips


def _take(cells: Mapping[str, str | None], line: int, clips: dict[str, _Clip]) -> None:
    """Add one line to `clips`.

    Raises:
        ValueError: what is wrong with it.
    """
    path, label, start, end = ((cells[name] or "").strip() for name in COLUMNS)
    split = (cells.get("split") or "").strip().lower()
    if not path or "\0" in path:
        raise ValueError("the path is empty or holds a zero byte")
    if split and split not in SPLIT_WORDS:
        raise ValueError(f"split '{split}' is none of train, val, test")
    split = SPLIT_WORDS[split] if split else ""
    clip = clips.setdefault(path, _Clip(line, split))
    if clip.split != split:
        raise ValueError(f"{path} is in split '{split}' here and in '{clip.split}' in line {clip.line}")
    if not (label or start or end):
        return
    if label.lower() == BACKGROUND:
        raise ValueError(f"'{label}' is what has no event: leave the row out, or give its path alone")
    if not label:
        raise ValueError("the label is empty")
    try:
        times = float(start), float(end)
    except ValueError:
        raise ValueError(f"start '{start}' and end '{end}' are not seconds") from None
    if not 0 <= times[0] < times[1] < float("inf"):
        raise ValueError(f"an event from {times[0]:g} to {times[1]:g} s")
    clip.events.append(Placed(*times, label, line))


def _overlaps(name: str, events: Sequence[Placed]) -> list[str]:
    """Return a line for each event that begins before another one ends."""
    ordered = sorted(events, key=lambda event: (event.start, event.end))
    return [
        f"line {other.line}: {name}: {other.label} from {other.start:g} s overlaps line {one.line}, {one.label} to "
        f"{one.end:g} s"
        for one, other in pairwise(ordered)
        if other.start < one.end - 1e-9
    ]


def _segments(path: Path, events: Mapping[str, Sequence[Placed]], rows: Sequence[ManifestRow]) -> str:
    """Return segments.csv of the videos that were kept.

    Raises:
        DataError: an event ends beyond its video.
    """
    faults = [
        f"line {event.line}: {event.label} ends at {event.end:g} s, {row.id} at {row.duration:.2f} s"
        for row in rows
        for event in events[row.id]
        if event.end > row.duration + BEYOND_S
    ]
    if faults:
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        listed = "\n  ".join(faults[:20])
        raise DataError(f"{path} cannot be used:\n  {listed}{more}\nMend it and run the same command again.")
    return segments_of(events, rows)
