"""Print a prepared data set: its table, and the labelled clips that a recipe would draw."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypedDict

from rich.console import Console

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.report.table import Cell, Table

CLASSES_SHOWN = 12
REASONS = {
    "missing": "on the lists but not on disk",
    "not_listed": "on disk but on no list",
    "other_class": "of a class that is not used",
    "other_split": "of an official split that is not used",
    "not_a_video": "not a video file",
    "no_audio": "without an audio stream",
    "silent": "with silent sound",
    "duplicate_id": "with an id already used",
    "duplicate_file": "the same file as one of a later split",
    "empty": "empty",
    "unreadable": "not readable",
    "undecodable": "not decodable",
    "no_video": "without pictures",
    "truncated": "cut short",
    "corrupt": "damaged",
    "wrong_length": "of the wrong length",
    "timeout": "that took too long to read",
    "crash": "that crashed their reader",
    "error": "that failed unexpectedly",
    "wrong_shape": "with features of another shape",
    "not_finite": "with features that are not finite",
    "no_length": "that end before they begin (rows of a list)",
    "no_clip": "of no clip of val or test (rows of a list)",
    "too_long": "longer than a window, and not in --times",
    "not_a_clip": "that are neither a video nor frames",
    "missing_frame": "that lack a frame",
    "missing_mask": "that lack a mask",
    "wrong_size": "with a mask or frame of another size",
    "broken_png": "with a picture that cannot be read",
    "bad_logmel": "with a log-mel of another shape, or not finite",
    "refused_pickle": "with a pickle that would run code",
    "no_split": "on the list but in no split",
    "not_annotated": "in a split but not on the list",
    "shared_video": "of a video that another split has too",
    "cache_failed": "that could not be cached",
}


def show_summary(console: Console, summary: dict[str, Any]) -> None:
    """Print a summary: clips a class and split (shortened), hours, coverage, what was left out, the hash."""
    counts: dict[str, dict[str, int]] = summary["counts"]
    splits = [split for split in counts if counts[split]]
    names = list(dict.fromkeys(label for split in splits for label in counts[split] if label))
    lines: list[list[Cell]] = [[name, *(counts[split].get(name, 0) for split in splits)] for name in names]
    rest = names[CLASSES_SHOWN:]
    if rest:
        sums = (sum(counts[split].get(name, 0) for name in rest) for split in splits)
        lines[CLASSES_SHOWN:] = [[f"… {len(rest)} more", *sums]]
    if any("" in counts[split] for split in splits):
        lines.append(["(unlabelled)", *(counts[split].get("", 0) for split in splits)])
    lines.append([f"all {len(names)}", *(sum(counts[split].values()) for split in splits)])
    bold = frozenset({len(lines) - 1})
    if "hours" in summary:
        lines.append(["hours", *(summary["hours"][split] for split in splits)])
    covered = "  ".join(_covered(split, found) for split, found in summary.get("coverage", {}).items())
    title = f"{summary['dataset']}: {summary['clips']} clips"
    console.print(Table(title, ["class", *splits], lines, covered, digits=2, bold=bold).rich())
    for reason, count in summary.get("left_out", {}).items():
        console.print(f"left out: {count} {REASONS.get(reason, reason)}")
    for note in summary.get("notes", ()):
        console.print(note)
    console.print(f"manifest sha256 {summary['manifest_sha256'][:16]}")


class LabeledSplit(TypedDict):
    """A labelled subset: counts of clips, and the labelled ones' ids by class."""

    manifest_sha256: str
    labeled_per_class: int
    split_seed: int
    classes: int
    labeled: int
    unlabeled: int
    test: int
    clips: dict[str, list[str]]


def split_summary(manifest: Manifest, labeled: list[ManifestRow], per_class: int, seed: int) -> LabeledSplit:
    """Return the labelled subset as one object."""
    ids: dict[str, list[str]] = {}
    for row in labeled:
        ids.setdefault(row.label, []).append(row.id)
    train = manifest.of_split("train")
    return {
        "manifest_sha256": manifest.sha256,
        "labeled_per_class": per_class,
        "split_seed": seed,
        "classes": len(ids),
        "labeled": len(labeled),
        "unlabeled": len(train) - len(labeled),
        "test": len(manifest.of_split("test")),
        "clips": ids,
    }


def show_split(console: Console, split: LabeledSplit, sizes: Counter[str]) -> None:
    """Print a labelled subset: each class's clips beside how many it has to draw from (`sizes`)."""
    title = f"{split['labeled']} labelled clips: {split['labeled_per_class']} a class, seed {split['split_seed']}"
    note = f"{split['unlabeled']} training clips stay unlabelled; {split['test']} test clips"
    lines: list[list[Cell]] = [[name, sizes[name], " ".join(ids)] for name, ids in split["clips"].items()]
    console.print(Table(title, ["class", "of", "labelled clips"], lines, note).rich())


def _covered(split: str, found: dict[str, int]) -> str:
    share = 100 * found["kept"] / max(found["official"], 1)
    return f"{split}: {found['kept']} of {found['official']} official clips ({share:.1f}%)"
