"""Own videos with bags of labels, for video parsing; where it is known, with when each event is heard and seen."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from asgmcli.data.manifest import SPLITS, Manifest, ManifestRow
from asgmcli.data.segments import SEGMENTS_NAME, Span, segments_csv
from asgmcli.data.split import assign_splits
from asgmcli.errors import DataError, UsageError
from asgmcli.files import MOST_TEXT, read_bytes
from asgmcli.media.seconds import SECONDS, count_seconds, count_windows
from asgmcli.prepare.datasets.listing import DRAWN_SPLITS, SPLIT_WORDS, Candidate, LayoutOptions, LeftOut, Listing
from asgmcli.prepare.datasets.llp import DTYPE, WEIGHTS
from asgmcli.prepare.parsing_networks import load_networks, weight_options
from asgmcli.prepare.parsing_store import Source, write_store
from asgmcli.prepare.verify import Facts, Fault, FileCheck, examine

TITLE = "your own videos with bags of labels, for video parsing"
ROOT_HELP = """\
Expected for parsing: --root holds the videos. --list names them: a CSV with columns path (relative to --root), labels
(joined by ;) and, where the split is fixed, split. --times, a CSV with columns path, start, end, label, modality
(audio or visual), says when each is heard and seen, in seconds: without it only naming can be judged."""
MISSING_IS_BAD = True
OPTIONS = (
    click.Option(["--list", "listed"], required=True, help="CSV: path, labels[, split]."),
    click.Option(["--times"], help="CSV: path, start, end, label, modality."),
    *DRAWN_SPLITS,
    DTYPE,
    WEIGHTS,
)
MODALITIES = ("audio", "visual")


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the videos of --list with their labels and times.

    Raises:
        DataError: a list is missing or cannot be understood; file, line and mend are named.
    """
    own = options.own
    files = weight_options(tuple(own["weights"]))
    clips: dict[str, tuple[list[str], str]] = {}
    for where, cells in _rows(Path(own["listed"]), ("path", "labels")):
        name, split = cells["path"], cells.get("split", "").lower()
        labels = list(dict.fromkeys(part.strip() for part in cells["labels"].split(";") if part.strip()))
        if not name or name in clips:
            raise DataError(f"{where}: {'no path' if not name else f'{name} is named twice'}. Mend the line.")
        if not labels:
            raise DataError(f"{where}: {name} has no label. Name at least one, joined by ;")
        if split and split not in SPLIT_WORDS:
            raise DataError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}.")
        clips[name] = labels, SPLIT_WORDS[split] if split else ""
    if not clips:
        raise DataError(f"{own['listed']}: names no clip.")
    times = _read_times(own["times"], clips)
    splits = {name: split for name, (_, split) in clips.items()}
    unknown = {name: labels[0] for name, (labels, split) in clips.items() if not split}
    splits |= assign_splits(unknown, dict(options.shares), options.seed, {}) if unknown else {}
    found, left_out = [], []
    for name in clips:
        if (root / name).is_file():
            found.append(Candidate(name, root / name, "", splits[name]))
        else:
            left_out.append(LeftOut(name, str(root / name), "missing", f"named in {own['listed']}"))
    if not found:
        raise DataError(f"None of the {len(clips)} clips of {own['listed']} is under {root}.")
    classes = sorted({label for labels, _ in clips.values() for label in labels})
    source = Source(None, partial(load_networks, files), {"maker": "released"}, own["dtype"])
    return Listing(
        found,
        classes,
        left_out,
        notes=[] if times else ["no --times: only the naming of bags can be judged (bag_f)"],
        files={SEGMENTS_NAME: partial(_segments, {name: labels for name, (labels, _) in clips.items()}, times)},
        examine=partial(check_clip, frozenset(times)),
        finish=partial(_finish, source),
    )


def check_clip(timed: frozenset[str], task: FileCheck) -> Facts | Fault:
    """Check a video; a longer one than a window needs times, for its bag is not that of each window."""
    facts = examine(task)
    if isinstance(facts, Fault):
        return facts
    windows = count_windows(facts.duration)
    if windows > 1 and task.id not in timed:
        return Fault("too_long", f"{facts.duration:.1f} s, more than {SECONDS}: cut it, or give its --times")
    short = count_seconds(facts.duration) < SECONDS * windows
    return replace(facts, note="; ".join(filter(None, ("short" if short else "", facts.note))))


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield file:line and the cells of a CSV.

    Raises:
        DataError: it is missing, no text, lacks a column, or a row has other columns than the first line.
    """
    try:
        text = read_bytes(path, MOST_TEXT).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such list.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}).") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise DataError(f"{path}:1: no column {', '.join(missing)}; the first line names {','.join(columns)}.")
    try:
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if None in cells or None in cells.values():
                raise DataError(f"{where}: not {len(reader.fieldnames or ())} columns, as the first line has.")
            yield where, {key: value.strip() for key, value in cells.items()}
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}.") from None


def _read_times(given: str | None, clips: dict[str, tuple[list[str], str]]) -> dict[str, list[Span]]:
    """Return the events of --times by clip.

    Raises:
        DataError: a clip or label that --list does not name, or times that are none.
    """
    times: dict[str, list[Span]] = {}
    for where, cells in _rows(Path(given), ("path", "start", "end", "label", "modality")) if given else ():
        name, label, modality = cells["path"], cells["label"], cells["modality"]
        if name not in clips:
            raise DataError(f"{where}: {name!r} is not in --list.")
        if label not in clips[name][0]:
            raise DataError(f"{where}: {label!r} is none of the labels of {name}: {'; '.join(clips[name][0])}.")
        if modality not in MODALITIES:
            raise DataError(f"{where}: modality {modality!r} is none of {', '.join(MODALITIES)}.")
        try:
            start, end = float(cells["start"]), float(cells["end"])
        except ValueError:
            raise DataError(f"{where}: start {cells['start']!r}, end {cells['end']!r}: not seconds.") from None
        if not 0 <= start < end < float("inf"):
            raise DataError(f"{where}: an event from {start:g} to {end:g} s.")
        times.setdefault(name, []).append(Span(start, end, label, modality=modality))
    return times


def _segments(labels: dict[str, list[str]], times: dict[str, list[Span]], rows: Sequence[ManifestRow]) -> str:
    events = {}
    for row in rows:
        whole = float(SECONDS * count_windows(row.duration))
        events[row.id] = [Span(0.0, whole, label, modality="clip") for label in labels[row.id]] + times.get(row.id, [])
    return segments_csv(events, rows, modality=True)


def _finish(source: Source, manifest: Manifest, say: Callable[[str], None]) -> dict[str, object]:
    return write_store(manifest, source, say)
