"""Turn a listing into a manifest: check every file, leave out the unusable ones, and say why."""

from __future__ import annotations

import csv
import filecmp
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from asgmcli.data.manifest import SPLITS, ManifestRow, split_order, splits_of
from asgmcli.data.split import assign_splits, hashed
from asgmcli.errors import DataError
from asgmcli.prepare.datasets.listing import Candidate, LeftOut, Listing
from asgmcli.prepare.journal import Journal, task_key
from asgmcli.prepare.verify import Facts, Fault, FileCheck, examine
from asgmcli.workers import Failure, run_tasks

Progress = Callable[[int, int], None]
"""Called with the number of files done and of all."""

# Reasons that mean a broken file, unlike those a user asked for or files that are missing.
BAD_REASONS = frozenset(
    (
        "empty",
        "unreadable",
        "undecodable",
        "no_video",
        "truncated",
        "corrupt",
        "wrong_length",
        "timeout",
        "crash",
        "error",
        "wrong_shape",
        "missing_frame",
        "missing_mask",
        "wrong_size",
        "broken_png",
        "bad_logmel",
        "refused_pickle",
        "not_finite",
    )
)
LONGER_S = 2.0
SHORTEST_SHARE = 0.05
SHORT, SHORT_S = "short", 0.5
"""Note of a clip whose file ends that many seconds before it should; readers repeat its last frame, then silence."""


@dataclass(frozen=True, slots=True)
class Check:
    """Settings of the check of files.

    `drop_silent` leaves out clips below `silence_dbfs`, of split train alone where it is "train"; `verify` decodes
    everything once, `limit_s` is the seconds allowed for one file, `max_bad` the tolerated share of broken files.
    """

    drop_silent: bool | Literal["train"] = False
    silence_dbfs: float = -60.0
    verify: bool = False
    limit_s: float = 30.0
    max_bad: float = 0.05


@dataclass
class Outcome:
    """The result of checking a listing: rows for the manifest, and everything that was left out.

    `silent` counts the clips left out for their silence by split, "" where none was drawn yet.
    """

    rows: list[ManifestRow]
    left_out: list[LeftOut]
    bad: int
    looked_at: int
    silent: Counter[str] = field(default_factory=Counter)


def shard_of(candidates: Iterable[Candidate], index: int, count: int) -> list[Candidate]:
    """Return the candidates of shard `index` (from 1) of `count`, by a hash of the id."""
    return [clip for clip in candidates if hashed(0, clip.id) % count == index - 1]


def look(
    out: Path,
    candidates: list[Candidate],
    check: Check,
    workers: int,
    progress: Progress | None = None,
    name: str = "files",
    own_check: Callable[[FileCheck], Facts | Fault] | None = None,
) -> dict[str, Facts | Fault]:
    """Examine each candidate's files in killable processes; what an interrupted run has found is not examined again.

    Returns:
        Facts or a fault by clip id. Of candidates that share an id the first is examined.
    """
    unique = {clip.id: clip for clip in reversed(candidates)}
    answers: dict[str, Facts | Fault] = {}
    with Journal(out, name) as journal:
        keys: dict[str, str] = {}
        todo: list[FileCheck] = []
        for clip in (clip for clip in candidates if unique[clip.id] is clip):
            audio = os.path.abspath(clip.audio) if clip.audio is not None else ""
            listen = bool(check.drop_silent) or check.verify
            task = FileCheck(clip.id, os.path.abspath(clip.path), audio, listen, check.verify, clip.more)
            key = task_key(task)
            if key in journal.known:
                answers[clip.id] = journal.known[key]
            else:
                keys[clip.id] = key
                todo.append(task)
        total = len(answers) + len(todo)
        if progress is not None:
            progress(len(answers), total)
        for task, answer in run_tasks(own_check or examine, todo, workers, check.limit_s):
            found = Fault(answer.reason, answer.detail) if isinstance(answer, Failure) else answer
            journal.add(keys[task.id], found)
            answers[task.id] = found
            if progress is not None:
                progress(len(answers), total)
    return answers


def select(
    listing: Listing, answers: dict[str, Facts | Fault], check: Check, folder: Path, missing_is_bad: bool
) -> Outcome:
    """Return the rows and the left-out clips. Depends on the answers only, not on the order of the work.

    Raises:
        DataError: clips that were never examined.
    """
    unknown = [clip.id for clip in listing.candidates if clip.id not in answers]
    if unknown:
        raise DataError(
            f"{len(unknown)} clips were never looked at, the first is {unknown[0]}: files or lists have changed since "
            "the shards were made. Run the shards again."
        )
    left_out = list(listing.left_out)
    kept: dict[str, tuple[Candidate, Facts]] = {}
    seen: dict[str, Candidate] = {}
    for clip in listing.candidates:
        first = seen.setdefault(clip.id, clip)
        if first is not clip:
            left_out.append(LeftOut(clip.id, str(clip.path), "duplicate_id", f"{first.path} has this id"))
            continue
        facts = answers[clip.id]
        fault = facts if isinstance(facts, Fault) else _fault_of(clip, facts, listing.needs_sound)
        if fault is not None:
            left_out.append(LeftOut(clip.id, str(clip.path), fault.reason, fault.detail))
        elif isinstance(facts, Facts):
            kept[clip.id] = (clip, facts)
    silent = _drop_silent(kept, check, left_out) if check.drop_silent is True else Counter()
    kept = _with_splits(listing, kept)
    if check.drop_silent == "train":
        silent = _drop_silent(kept, check, left_out, "train")
    for clip, other in _copies(list(kept.values()), listing.same_paths):
        where = f"the same file as {other.id} in {other.split}"
        left_out.append(LeftOut(clip.id, str(clip.path), "duplicate_file", where))
        del kept[clip.id]
    bad = sum(entry.reason in BAD_REASONS or (missing_is_bad and entry.reason == "missing") for entry in left_out)
    rows = [_row(clip, facts, folder) for clip, facts in kept.values()]
    rows.sort(key=lambda row: (split_order(row.split), row.id))
    left_out.sort(key=lambda entry: (entry.id, entry.path, entry.reason))
    looked_at = len(seen) + (sum(entry.reason == "missing" for entry in left_out) if missing_is_bad else 0)
    return Outcome(rows, left_out, bad, looked_at, silent)


def quarantine_csv(left_out: Iterable[LeftOut]) -> str:
    """Return the text of quarantine.csv."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "path", "reason", "detail"))
    writer.writerows((entry.id, entry.path, entry.reason, entry.detail) for entry in left_out)
    return stream.getvalue()


def summarise(
    name: str, listing: Listing, outcome: Outcome, settings: dict[str, object], sha256: str
) -> dict[str, object]:
    """Return the content of summary.json: counts, coverage of the official list, hours, clips left out, hash."""
    splits = list(dict.fromkeys((*SPLITS, *splits_of(outcome.rows))))
    counts = {split: Counter(row.label for row in outcome.rows if row.split == split) for split in splits}
    summary: dict[str, Any] = {
        "dataset": name,
        "settings": settings,
        "clips": len(outcome.rows),
        "counts": {
            split: {label: counts[split][label] for label in [*listing.classes, ""] if counts[split][label]}
            for split in splits
        },
        "hours": {
            split: round(sum(row.duration for row in outcome.rows if row.split == split) / 3600, 4) for split in splits
        },
        "with_sound": sum(bool(row.audio) for row in outcome.rows),
        "left_out": dict(sorted(Counter(entry.reason for entry in outcome.left_out).items())),
        "broken": {"files": outcome.bad, "of": outcome.looked_at},
        "notes": [*listing.notes, *_empty_classes(listing, outcome.rows), *_denominators(outcome)],
        "manifest_sha256": sha256,
    }
    if listing.official:
        found = Counter((row.split, row.label) for row in outcome.rows)
        summary["coverage"] = {}
        for split in splits:
            official = {label: count for (where, label), count in listing.official.items() if where == split}
            if official:
                summary["coverage"][split] = {
                    "official": sum(official.values()),
                    "kept": sum(counts[split].values()),
                    "classes": {label: [found[split, label], count] for label, count in sorted(official.items())},
                }
    return summary


def _denominators(outcome: Outcome) -> list[str]:
    """Return a line for each split but train that clips without sound were left out of."""
    lines = []
    for split in sorted(outcome.silent.keys() - {"train"}, key=split_order):
        left_out, kept = outcome.silent[split], sum(row.split == split for row in outcome.rows)
        if left_out and split:
            lines.append(
                f"{split}: {left_out:,} of {left_out + kept:,} clips have no sound and are left out, so that "
                f"accuracies are of {kept:,}; --drop-silent=train keeps them, as papers do that count all"
            )
        elif left_out:
            lines.append(
                f"{left_out:,} clips without sound are left out before splits are drawn, of test as well; "
                "--drop-silent=train leaves them out of train alone"
            )
    return lines


def _empty_classes(listing: Listing, rows: Sequence[ManifestRow]) -> list[str]:
    """Return a line for each of train and test that has clips, but none of some classes."""
    inside = listing.contents
    asked = [name for name in listing.classes if not inside or any(name in one for one in inside.values())]
    lines: list[str] = []
    for split in ("train", "test"):
        mine = [row for row in rows if row.split == split]
        seen = {row.label for row in mine}.union(*(inside.get(row.id, ()) for row in mine))
        empty = [name for name in asked if name not in seen]
        if mine and empty and len(empty) < len(asked):
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            of = f"class {empty[0]}" if len(empty) == 1 else f"{len(empty)} classes: {', '.join(empty[:5])}{more}"
            lines.append(f"no {split} clip of {of}")
    return lines


def _fault_of(clip: Candidate, facts: Facts, needs_sound: bool) -> Fault | None:
    if clip.seconds and facts.duration > clip.seconds + LONGER_S:
        return Fault("wrong_length", f"{facts.duration:.2f} s where the list says {clip.seconds:g} s: not cut out")
    if clip.seconds and facts.duration < SHORTEST_SHARE * clip.seconds:
        return Fault("wrong_length", f"{facts.duration:.2f} s where the list says {clip.seconds:g} s")
    if needs_sound and not facts.sound:
        return Fault("no_audio", "the file has no audio stream")
    return None


def _drop_silent(
    kept: dict[str, tuple[Candidate, Facts]], check: Check, left_out: list[LeftOut], split: str | None = None
) -> Counter[str]:
    """Move the silent clips, of `split` where it is given, from `kept` to `left_out`; return how many of each split."""
    silent: Counter[str] = Counter()
    for clip, facts in list(kept.values()):
        fault = _silence_of(facts, check) if split in (None, clip.split) else None
        if fault is not None:
            left_out.append(LeftOut(clip.id, str(clip.path), fault.reason, fault.detail))
            silent[clip.split] += 1
            del kept[clip.id]
    return silent


def _silence_of(facts: Facts, check: Check) -> Fault | None:
    """Return why the clip counts as silent, None where it does not."""
    if not facts.sound:
        return Fault("no_audio", "the file has no audio stream")
    if facts.loudness is not None and facts.loudness < check.silence_dbfs:
        return Fault("silent", f"the sound stays at {facts.loudness:.1f} dBFS, under {check.silence_dbfs:g} dBFS")
    return None


def _with_splits(listing: Listing, kept: dict[str, tuple[Candidate, Facts]]) -> dict[str, tuple[Candidate, Facts]]:
    """Return the clips by id, those without a split drawn into one beside the clips of their class that have theirs."""
    drawn = {name: clip.label for name, (clip, _) in kept.items() if not clip.split}
    given: dict[str, Counter[str]] = {}
    for clip, _ in kept.values():
        if clip.split and clip.id not in listing.later:
            given.setdefault(clip.label, Counter())[clip.split] += 1
    splits = assign_splits(drawn, dict(listing.shares), listing.seed, given) if drawn else {}
    return {name: (replace(clip, split=splits.get(name, clip.split)), facts) for name, (clip, facts) in kept.items()}


def _copies(kept: list[tuple[Candidate, Facts]], same_paths: bool) -> list[tuple[Candidate, Candidate]]:
    """Return (clip to leave out, clip that has the same file in a later split): test wins over val, val over train.

    `same_paths`: clips of one path stay, those of two files of equal bytes do not.
    """
    groups: dict[str, list[Candidate]] = {}
    for clip, facts in kept:
        groups.setdefault(facts.fingerprint, []).append(clip)
    out: list[tuple[Candidate, Candidate]] = []
    for group in groups.values():
        last = max(group, key=lambda clip: split_order(clip.split))
        for clip in group:
            # Fingerprints cover the files' edges only; matches are confirmed byte by byte.
            if same_paths and clip.path == last.path:
                continue
            if clip.split != last.split and filecmp.cmp(clip.path, last.path, shallow=False):
                out.append((clip, last))
    return out


def _row(clip: Candidate, facts: Facts, folder: Path) -> ManifestRow:
    path = relative(clip.path, folder)
    audio = "" if not facts.sound else path if clip.audio is None else relative(clip.audio, folder)
    short = facts.duration + SHORT_S < clip.lasts
    return ManifestRow(
        clip.id,
        path,
        clip.label,
        clip.split,
        clip.lasts if short else facts.duration,
        facts.fps,
        facts.frames,
        facts.width,
        facts.height,
        audio,
        "; ".join(filter(None, (clip.note, facts.note, SHORT if short else ""))),
    )


def relative(path: Path, folder: Path) -> str:
    """Return the path as the manifest in `folder` names it: relative if it lies under it, else absolute."""
    whole = Path(os.path.abspath(path))
    base = Path(os.path.abspath(folder))
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else str(whole)
