"""True events of clips: `segments.csv` beside a manifest, columns id, start, end, label[, modality], in seconds.

Without the column `modality` an event is seen and heard; with it, it is `audio`, `visual`, or `clip`: a label of the
whole clip. A `Span` is one event, true or predicted; a grid is the same by segments of equal length.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError
from asgmcli.files import MOST_TEXT, read_bytes

SEGMENTS_NAME = "segments.csv"
MODALITIES = ("audio", "visual", "clip")
"""Values of the column `modality`; "" where there is no such column."""
_FAULTS_SHOWN = 20
# Share of a segment that an event must cover, and what binary times are off by, s.
_SHARE, _ROUNDING = 0.5, 1e-6


@dataclass(frozen=True)
class Span:
    """An event: from `start` to `end` seconds, its class, how probable it is (1 where it is true), and its modality."""

    start: float
    end: float
    label: str
    probability: float = 1.0
    modality: str = ""


Segments = dict[str, list[Span]]
"""Events by clip id, in order of their starts."""


def segments_csv(
    events: Mapping[str, Sequence[Span]],
    rows: Iterable[ManifestRow],
    *,
    modality: bool = False,
    probability: bool = False,
) -> str:
    """Return the text of segments.csv: the events of `rows` in their order; events of no length are left out.

    Args:
        events: by clip id.
        rows: of the manifest.
        modality: write the column `modality`.
        probability: write the column `probability` too, of predicted events.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    extra = [name for name, wanted in (("modality", modality), ("probability", probability)) if wanted]
    writer.writerow(("id", "start", "end", "label", *extra))
    for row in rows:
        for span in events.get(row.id, ()):
            if span.end > span.start:
                cells = {"modality": span.modality, "probability": f"{span.probability:.4f}"}
                times = (f"{round(span.start, 4):g}", f"{round(span.end, 4):g}")
                writer.writerow((row.id, *times, span.label, *(cells[name] for name in extra)))
    return stream.getvalue()


def read_segments(manifest: Manifest) -> Segments:
    """Read the events of a data set's clips; a clip without any has an empty list.

    Raises:
        DataError: there is no such file, or it holds anything wrong; all faults are named with their lines.
    """
    path = manifest.folder / SEGMENTS_NAME
    try:
        text = read_bytes(path, MOST_TEXT).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"{path}: no events here; {manifest.folder} cannot tell when they happen. Prepare it anew, by a data set "
            "with events."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}). Prepare it anew.") from None
    classes = set(manifest.classes)
    found: Segments = {row.id: [] for row in manifest.rows}
    faults: list[str] = []
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = {"id", "start", "end", "label"} - set(reader.fieldnames or ())
    if missing:
        raise DataError(f"{path}: no column {', '.join(sorted(missing))}. Prepare it anew.")
    try:
        for record in reader:
            try:
                span = _span(record, found, classes)
                found[record["id"]].append(span)
            except (TypeError, ValueError) as error:
                faults.append(f"line {reader.line_num}: {error}")
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")
    if faults:
        more = f"\n  and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        listed = "\n  ".join(faults[:_FAULTS_SHOWN])
        raise DataError(f"{path} cannot be used:\n  {listed}{more}\nMend it or prepare it anew.")
    return {clip: sorted(spans, key=lambda span: (span.start, span.end)) for clip, spans in found.items()}


def _span(record: Mapping[str, Any], clips: Container[str], classes: set[str]) -> Span:
    """Return the event of one line.

    Raises:
        ValueError: what is wrong with it.
    """
    clip, label, modality = record["id"], record["label"], record.get("modality") or ""
    if clip not in clips:
        raise ValueError(f"clip {clip!r} is not in the manifest")
    if label not in classes:
        raise ValueError(f"label {label!r} is not in classes.txt")
    if modality and modality not in MODALITIES:
        raise ValueError(f"modality {modality!r} is none of {', '.join(MODALITIES)}")
    try:
        start, end = float(record["start"]), float(record["end"])
    except ValueError:
        raise ValueError(f"start {record['start']!r} and end {record['end']!r} are not seconds") from None
    if not 0 <= start < end < math.inf:
        raise ValueError(f"an event from {start:g} to {end:g} s")
    return Span(start, end, label, modality=modality)


def covered(span: Span, segments: int, seconds: float = 1.0) -> NDArray[np.bool_]:
    """Return bool [segments]: those of which the event covers at least half."""
    begin = seconds * np.arange(segments)
    overlap = np.minimum(span.end, begin + seconds) - np.maximum(span.start, begin)
    enough: NDArray[np.bool_] = overlap >= _SHARE * seconds - _ROUNDING
    return enough


def spans_to_labels(
    spans: Iterable[Span], classes: Sequence[str], segments: int, *, seconds: float = 1.0
) -> NDArray[np.int64]:
    """Return the class of each segment, int64 [segments], where events exclude each other.

    A segment belongs to the event that covers at least half of it, the earlier of two; else to the last of `classes`,
    which is the background.

    Args:
        spans: events.
        classes: names in index order, the background's last.
        segments: T.
        seconds: length of a segment.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.full(segments, len(classes) - 1, dtype=np.int64)
    for span in sorted(spans, key=lambda span: (span.start, span.end), reverse=True):
        labels[covered(span, segments, seconds)] = numbers[span.label]
    return labels


def labels_to_spans(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating[Any]],
    classes: Sequence[str],
    *,
    seconds: float = 1.0,
    end: float | None = None,
) -> list[Span]:
    """Return the events of a clip's segments: equal neighbours joined, the background (the last class) left out.

    Args:
        labels: [T] class numbers.
        probabilities: [T], of those classes; an event has their mean.
        classes: names in index order, the background's last.
        seconds: length of a segment.
        end: of the clip, s, where the last segments reach beyond it.
    """
    whole = seconds * len(labels) if end is None else end
    borders = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)] if len(labels) else [0]
    spans = []
    for first, after in pairwise(borders):
        label, begin = int(labels[first]), seconds * first
        if label != len(classes) - 1 and begin < whole:
            mean = float(np.mean(probabilities[first:after], dtype=np.float64))
            spans.append(Span(begin, min(seconds * after, whole), classes[label], mean))
    return spans


def spans_to_grid(
    spans: Iterable[Span], classes: Sequence[str], segments: int, *, seconds: float = 1.0
) -> NDArray[np.bool_]:
    """Return bool [segments, K]: which classes each segment has, where several may hold at once."""
    numbers = {name: number for number, name in enumerate(classes)}
    grid = np.zeros((segments, len(classes)), dtype=np.bool_)
    for span in spans:
        grid[:, numbers[span.label]] |= covered(span, segments, seconds)
    return grid


def grid_to_spans(
    grid: NDArray[np.bool_],
    probabilities: NDArray[np.floating[Any]] | None,
    classes: Sequence[str],
    *,
    seconds: float = 1.0,
    modality: str = "",
) -> list[Span]:
    """Return the runs of each class in a grid, by start, then class.

    Args:
        grid: bool [T, K].
        probabilities: [T, K]; a span has the mean over its segments. None: 1, a true grid.
        classes: K names.
        seconds: length of a segment.
        modality: of the spans.
    """
    spans = []
    for number, label in enumerate(classes):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], grid[:, number], [False]]).astype(np.int8)))
        for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            mean = 1.0 if probabilities is None else float(np.mean(probabilities[first:after, number]))
            spans.append((first, number, Span(seconds * first, seconds * after, label, mean, modality)))
    return [span for *_, span in sorted(spans, key=lambda item: item[:2])]


def webvtt(spans: Iterable[Span]) -> str:
    """Return events as WebVTT captions: a cue an event, with its class and its probability in percent."""
    cues = [
        f"{_clock(span.start)} --> {_clock(span.end)}\n{_plain(span.label)} {100 * span.probability:.0f}%\n"
        for span in sorted(spans, key=lambda span: span.start)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _plain(text: str) -> str:
    """Return text that is no markup in a caption."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
