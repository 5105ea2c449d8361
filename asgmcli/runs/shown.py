"""The clips of a page: which a network answers best and worst, each as a small video with the answer drawn in."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import AsgmError
from asgmcli.media.small import MOST_SECONDS, SHORT_SIDE, small_clip
from asgmcli.report.page import Picture, Shown, jpeg_of, read_picture
from asgmcli.report.table import Cell, Table
from asgmcli.train.task import AnswersRows, Prediction, Trained

PREDICTED = "predicted"
"""Column of an examination's lines that holds the answer; the one before it holds the truth."""
NO_MEASURE = {"probability", "confidence", "second", "time", "start", "end", "frame", "window", "row"}
"""Last columns of lines that do not tell how right an answer is."""
PICTURES, VIDEOS, TEXTS = (".png",), (".mp4",), (".vtt", ".srt", ".txt", ".csv", ".json")
"""Endings of an answer's files that a page can show."""
MOST_LETTERS = 20_000
TOLD = 3
"""Lines of an answer that stand beside a clip."""


def scores_of(lines: Table) -> dict[str, float]:
    """Return how right each clip's answer is, by id; empty if the lines of an examination do not tell.

    Lines with a column `predicted` have the truth before it: a right one counts its last number (its probability, 1
    where there is none), a wrong one that number with a minus. Otherwise the last column counts, the higher the better.
    A clip with several lines has their mean.
    """
    names = list(lines.columns)
    found: dict[str, list[float]] = defaultdict(list)
    if PREDICTED in names and names.index(PREDICTED) >= 2:
        place = names.index(PREDICTED)
        for row in lines.rows:
            sure = row[-1] if isinstance(row[-1], float) else 1.0
            found[str(row[0])].append(sure if row[place] == row[place - 1] else -sure)
    elif names and PREDICTED not in names and names[-1] not in NO_MEASURE:
        for row in lines.rows:
            if isinstance(row[-1], (int, float)):
                found[str(row[0])].append(float(row[-1]))
    return {name: fmean(values) for name, values in found.items()}


def choose(ids: Sequence[str], scores: Mapping[str, float], count: int) -> list[tuple[str, bool | None]]:
    """Return `count` of the best and as many of the worst clips, none twice; without scores clips spread over all."""
    ranked = sorted((name for name in ids if name in scores), key=lambda name: (-scores[name], name))
    if not ranked:
        step = max(1, len(ids) // max(1, 2 * count))
        return [(name, None) for name in ids[::step][: 2 * count]]
    best = ranked[: min(count, -(-len(ranked) // 2))]
    worst = [name for name in reversed(ranked) if name not in best][:count]
    return [*((name, True) for name in best), *((name, False) for name in worst)]


def show_clips(
    trained: Trained, manifest: Manifest, lines: Table, count: int, seen: Callable[[int, int], None]
) -> list[Shown]:
    """Return the best and the worst clips of an examination's `lines`, `count` of each; `seen` gets how many of all."""
    rows = {row.id: row for row in manifest.rows}
    ids = [name for name in dict.fromkeys(str(line[0]) for line in lines.rows) if name in rows]
    scores = scores_of(lines)
    chosen = choose(ids, scores, count)
    shown = []
    for number, (name, good) in enumerate(chosen, start=1):
        shown.append(show_clip(trained, manifest, rows[name], good, scores.get(name)))
        seen(number, len(chosen))
    return shown


def show_clip(
    trained: Trained, manifest: Manifest, row: ManifestRow, good: bool | None = None, score: float | None = None
) -> Shown:
    """Return a clip with the network's answer; one that cannot be read says why."""
    path = manifest.resolve(row)
    audio = manifest.resolve_audio(row) if row.audio not in ("", row.path) else None
    truth = [f"Truth: {row.label}"] if row.label else []
    try:
        answer = (
            trained.predict_row(manifest, row) if isinstance(trained, AnswersRows) else trained.predict(path, audio)
        )
        shown = shown_answer(answer, trained.columns, path, audio, name=row.id, truth=row.label)
    except AsgmError as error:
        return Shown(row.id, [*truth, f"Not shown: {error.message}"], good=good)
    return replace(shown, about=[*truth, *_score(score), *shown.about], good=good)


def _score(score: float | None) -> list[str]:
    return [] if score is None else [f"Score: {score:.2f}"]


def shown_answer(
    answer: Prediction,
    columns: Sequence[str],
    path: Path,
    audio: Path | None = None,
    *,
    name: str,
    truth: str = "",
    seconds: float = MOST_SECONDS,
    short_side: int = SHORT_SIDE,
) -> Shown:
    """Return an answer as it is shown: a small video of its clip, the pictures and texts that it can write.

    Args:
        answer: for the clip.
        columns: of its lines.
        path: of the clip; `audio` is the file of its sound, if that is a separate one.
        audio: see `path`.
        name: of the clip, for people.
        truth: its class, where it is known.
        seconds: most of the clip that is shown.
        short_side: pixels of the video's shorter side.

    Raises:
        AsgmError: the clip cannot be read again, or a file cannot be written.
    """
    pictures: list[Picture] = []
    texts: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = path
        for ending, write in answer.files.items():
            kind = Path(f"x{ending}").suffix
            target = Path(folder) / f"answer{ending}"
            if kind not in (*PICTURES, *VIDEOS, *TEXTS):
                continue
            write(target)
            if kind in PICTURES:
                pictures.append(read_picture(target, f"{_plain(ending)} of {name}"))
            elif kind in VIDEOS:
                source, audio = target, None
            else:
                texts[_plain(ending)] = target.read_text(encoding="utf-8", errors="replace")[:MOST_LETTERS]
        small = Path(folder) / "small.mp4"
        words = words_of(answer, columns, truth)
        middle = small_clip(source, small, audio=audio, words=words, seconds=seconds, short_side=short_side)
        mp4 = small.read_bytes()
    told = [f"Answer: {told_line(columns, line)}" for line in answer.rows[:TOLD]] or ["Answer: nothing"]
    rest = [f"and {len(answer.rows) - TOLD} more lines"] if len(answer.rows) > TOLD else []
    return Shown(name, [*told, *rest], mp4, jpeg_of(middle), pictures, texts)


def words_of(answer: Prediction, columns: Sequence[str], truth: str) -> Callable[[float], list[str]]:
    """Return what stands above the picture at a time: the answer that holds then, and the truth where it is known.

    Lines that begin with `start` and `end`, or with `time`, hold at that time; otherwise the first one always does.
    """

    def words(time: float) -> list[str]:
        if tuple(columns[:2]) == ("start", "end"):
            now = [line for line in answer.rows if _number(line[0]) <= time < _number(line[1])]
            text = ", ".join(told_line(columns[2:], line[2:]) for line in now) or "–"
        elif columns and columns[0] == "time":
            before = [line for line in answer.rows if _number(line[0]) <= time] or answer.rows[:1]
            text = told_line(columns[1:], before[-1][1:]) if before else "–"
        else:
            text = told_line(columns, answer.rows[0]) if answer.rows else "–"
        return [text, f"truth: {truth}"] if truth else [text]

    return words


def told_line(columns: Sequence[str], line: Sequence[Cell]) -> str:
    """Return a line of an answer in words: text as it is, numbers with their column's name."""
    parts = [
        f"{name} {cell:.3g}" if isinstance(cell, (int, float)) else str(cell)
        for name, cell in zip(columns, line, strict=True)
        if cell not in (None, "")
    ]
    return ", ".join(parts)


def _number(cell: Cell) -> float:
    return float(cell) if isinstance(cell, (int, float)) else 0.0


def _plain(ending: str) -> str:
    """Return what a file is called in words: `_timeline.png` is a timeline, `.vtt` is vtt."""
    stem = ending.rpartition(".")[0].strip("_").replace("_", " ")
    return stem or ending.strip(".")
