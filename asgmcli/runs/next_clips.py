"""The unlabelled clips most worth a label: those whose class the network does not know, and unlike each other."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError, UsageError
from asgmcli.prepare.single import MediaFile
from asgmcli.prepare.source import open_manifest
from asgmcli.report.page import Page, Section
from asgmcli.runs.bulk import Bulk
from asgmcli.runs.shown import show_clip
from asgmcli.train.task import Trained

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Chosen:
    """A clip to label.

    Attributes:
        id: in the manifest.
        path: of its file.
        guess: what the network would say.
        probability: of the guess, 0..1.
        unsure: 0 for a sure answer, 1 for one even between all classes.
    """

    id: str
    path: str
    guess: str
    probability: float
    unsure: float


def unsureness(shares: Doubles) -> Doubles:
    """Return the entropy of each row's probabilities [n, K] as a share of the largest there is, [n] in 0..1."""
    classes = shares.shape[1]
    if classes < 2:
        return np.zeros(len(shares))
    safe = np.clip(shares, 1e-12, 1.0)
    found: Doubles = -(safe * np.log(safe)).sum(1) / np.log(classes)
    return found


def choose_clips(shares: Doubles, count: int) -> list[int]:
    """Return the places of `count` rows of probabilities [n, K], the one most worth a label first.

    Each next one has the largest product of how unsure it is and how far it lies from the nearest of those chosen
    (Hellinger distance of the probabilities, 0..1): clips about which the network doubts in the same way tell the same.
    """
    unsure = unsureness(shares)
    roots = np.sqrt(np.clip(shares, 0.0, 1.0))
    distance = np.ones(len(shares))
    chosen: list[int] = []
    for _ in range(min(count, len(shares))):
        worth = unsure * distance
        worth[chosen] = -1.0
        place = int(worth.argmax())
        chosen.append(place)
        overlap = np.clip(roots @ roots[place], 0.0, 1.0)
        distance = np.minimum(distance, np.sqrt(np.maximum(1.0 - overlap, 0.0)))
    return chosen


def probabilities_of(data: Mapping[str, object]) -> dict[str, float]:
    """Return the probability of each class that an answer as JSON tells.

    Raises:
        UsageError: it tells none.
    """
    found = data.get("probabilities")
    if not isinstance(found, dict) or not found:
        raise UsageError("next: answers of this task do not tell a probability of each class for a clip.")
    return {str(name): float(value) for name, value in found.items()}


def open_unlabeled(trained: Trained) -> tuple[Manifest, list[ManifestRow]]:
    """Return the manifest of a network's data, and the training clips in it that have no label.

    Raises:
        DataError: no manifest, or no such clip.
    """
    manifest, split = open_manifest(trained.data), trained.data.train_split
    rows = [row for row in manifest.of_split(split) if not row.label]
    if not rows:
        raise DataError(f"{manifest.path}: no clip of split {split!r} is unlabelled, so there is none to label next.")
    return manifest, rows


def chosen_of(
    trained: Trained,
    manifest: Manifest,
    rows: Sequence[ManifestRow],
    bulk: Bulk,
    count: int,
    seen: Callable[[int], None],
) -> tuple[list[Chosen], list[str]]:
    """Ask a network about clips of a manifest; return those most worth a label, and why others could not be read.

    Raises:
        UsageError: its answers tell no probabilities. DataError: no clip can be read.
    """
    files = []
    for row in rows:
        apart = row.audio not in ("", row.path)
        files.append(MediaFile(manifest.resolve(row), manifest.resolve_audio(row) if apart else None))
    answered: list[tuple[ManifestRow, dict[str, float]]] = []
    failed: list[str] = []
    for done, (row, told) in enumerate(zip(rows, bulk.ask(files, trained), strict=True), start=1):
        if told.error:
            failed.append(told.error)
        else:
            answered.append((row, probabilities_of(told.data)))
        seen(done)
    if not answered:
        raise DataError(f"{manifest.path}: none of {len(rows)} unlabelled clips can be read, the first: {failed[0]}")
    names = sorted(answered[0][1])
    shares = np.asarray([[found[name] for name in names] for _, found in answered], dtype=np.float64)
    unsure = unsureness(shares)
    chosen = []
    for place in choose_clips(shares, count):
        row, best = answered[place][0], int(shares[place].argmax())
        path = str(manifest.resolve(row))
        chosen.append(Chosen(row.id, path, names[best], float(shares[place, best]), float(unsure[place])))
    return chosen, failed


def next_csv(chosen: Sequence[Chosen]) -> str:
    """Return the list to fill in: path, an empty label, and what the network would say."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "label", "guess", "probability", "id"])
    writer.writerows([one.path, "", one.guess, round(one.probability, 4), one.id] for one in chosen)
    return out.getvalue()


def next_page(trained: Trained, manifest: Manifest, chosen: Sequence[Chosen], among: int, target: Path) -> Page:
    """Return a page with a player for each chosen clip, in the order of the list `target`."""
    rows = {row.id: row for row in manifest.rows}
    shown = []
    for number, one in enumerate(chosen, start=1):
        clip = show_clip(trained, manifest, rows[one.id])
        about = [one.id, f"Unsure: {one.unsure:.0%}", *clip.about]
        shown.append(replace(clip, title=f"{number}. {Path(one.id).name}", about=about))
    words = [
        f"Write the class of each clip into the column label of {target}; leave it empty where you cannot tell. "
        "A class may be a new one. Then train on the same clips with:",
    ]
    how = Section("What to do", words, commands=[f"asgm train CLIPS --more-labels {target} --overwrite"])
    classes = {"Classes": ", ".join(manifest.classes)} if manifest.classes else {}
    lead = f"{len(chosen)} of {among} unlabelled clips: the network is unsure of them, and they differ."
    return Page(
        "Clips to label next",
        lead,
        {"Run of": trained.recipe.title, **classes},
        [],
        [how, Section("Clips", clips=shown)],
    )
