"""The unlabelled clips most worth a label: the network's answers are unlike those for labelled ones and each other."""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError, UsageError
from asgmcli.prepare.single import MediaFile
from asgmcli.prepare.source import open_manifest
from asgmcli.report.page import Page, Section
from asgmcli.runs.bulk import Bulk
from asgmcli.runs.shown import show_clip
from asgmcli.train.task import Trained

Doubles = NDArray[np.float64]
MOST_CLUSTERS = 1000
"""Clusters at most, for the time they take among very many clips."""
ROUNDS = 10
"""Rounds of k-means."""
ALIKE = 1e-12
"""Squared distance below which two points are one."""


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


def choose_clips(
    shares: Doubles, count: int, labeled: Doubles | None = None, labels: Doubles | None = None
) -> list[int]:
    """Return the places of `count` rows of probabilities [n, K], the one most worth a label first.

    All clips are put into as many clusters as there are classes and clips to choose (k-means of the square roots, whose
    distance is Hellinger's); labelled ones, of which the network is sure, fill about one a class. The next clip is of
    a cluster with the fewest clips that are labelled or chosen: what the network says of it, it says of none of those.
    Of such clips, it is the one whose classes, by their probabilities, have the fewest labelled and chosen clips.

    Args:
        shares: of the clips to choose from.
        count: to choose.
        labeled: probabilities [m, K] of clips that have a label.
        labels: how many clips of each class have one, [K]; by `labeled` where left out.
    """
    known = np.zeros((0, shares.shape[1])) if labeled is None else labeled
    have = known.sum(0) if labels is None else labels.astype(np.float64)
    cluster = clusters_of(np.sqrt(np.clip(np.concatenate([shares, known]), 0.0, 1.0)), count + shares.shape[1])
    taken = np.bincount(cluster[len(shares) :], minlength=cluster.max(initial=0) + 1)
    own = cluster[: len(shares)]
    left = np.ones(len(shares), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(shares))):
        wanted = left & (taken[own] == taken[own[left]].min())
        place = int(np.where(wanted, shares @ (1.0 / (have + 1.0)), -1.0).argmax())
        chosen.append(place)
        left[place] = False
        taken[own[place]] += 1
        have = have + shares[place]
    return chosen


def clusters_of(points: Doubles, count: int) -> NDArray[np.int64]:
    """Return the cluster of each point [n, d], int [n], of `count` clusters, fewer where points are alike.

    k-means from a start without chance: the point nearest to the mean, then the one farthest from all before.
    """
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    starts = [int(np.square(points - points.mean(0)).sum(1).argmin())]
    distance = np.square(points - points[starts[0]]).sum(1)
    while len(starts) < min(count, MOST_CLUSTERS) and distance.max() > ALIKE:
        starts.append(int(distance.argmax()))
        distance = np.minimum(distance, np.square(points - points[starts[-1]]).sum(1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        _, found = kmeans2(points, points[starts], iter=ROUNDS, minit="matrix")
    clusters: NDArray[np.int64] = found.astype(np.int64)
    return clusters


def probabilities_of(data: Mapping[str, object]) -> dict[str, float]:
    """Return the probability of each class that an answer as JSON tells.

    Raises:
        UsageError: it tells none.
    """
    found = data.get("probabilities")
    if not isinstance(found, dict) or not found:
        raise UsageError("next: answers of this task do not tell a probability of each class for a clip.")
    return {str(name): float(value) for name, value in found.items()}


@dataclass(frozen=True)
class Known:
    """The training clips of a network's data: those without a label, and those with one."""

    manifest: Manifest
    unlabeled: list[ManifestRow]
    labeled: list[ManifestRow]

    @property
    def count(self) -> int:
        """Return how many clips there are."""
        return len(self.unlabeled) + len(self.labeled)


def open_unlabeled(trained: Trained) -> Known:
    """Return the training clips of a network's data.

    Raises:
        DataError: no manifest, or no clip in it is unlabelled.
    """
    manifest, split = open_manifest(trained.data), trained.data.train_split
    rows = manifest.of_split(split)
    found = Known(manifest, [row for row in rows if not row.label], [row for row in rows if row.label])
    if not found.unlabeled:
        raise DataError(f"{manifest.path}: no clip of split {split!r} is unlabelled, so there is none to label next.")
    return found


def chosen_of(
    trained: Trained, known: Known, bulk: Bulk, count: int, seen: Callable[[int], None]
) -> tuple[list[Chosen], list[str]]:
    """Ask a network about its training clips; return those most worth a label, and why others could not be read.

    Raises:
        UsageError: its answers tell no probabilities. DataError: no unlabelled clip can be read.
    """
    answered, failed = _answers(trained, known, bulk, seen)
    rows = [(row, found) for row, found in answered if not row.label]
    if not rows:
        raise DataError(
            f"{known.manifest.path}: none of {len(known.unlabeled)} unlabelled clips can be read: {failed[0]}"
        )
    names = sorted(rows[0][1])
    labels = Counter(row.label for row in known.labeled)
    shares, others = (
        np.asarray([[found[name] for name in names] for found in group], dtype=np.float64).reshape(-1, len(names))
        for group in ([found for _, found in rows], [found for row, found in answered if row.label])
    )
    unsure = unsureness(shares)
    chosen = []
    for place in choose_clips(shares, count, others, np.asarray([labels[name] for name in names], dtype=np.float64)):
        row, best = rows[place][0], int(shares[place].argmax())
        path = str(known.manifest.resolve(row))
        chosen.append(Chosen(row.id, path, names[best], float(shares[place, best]), float(unsure[place])))
    return chosen, failed


def _answers(
    trained: Trained, known: Known, bulk: Bulk, seen: Callable[[int], None]
) -> tuple[list[tuple[ManifestRow, dict[str, float]]], list[str]]:
    rows, files = [*known.unlabeled, *known.labeled], []
    for row in rows:
        apart = row.audio not in ("", row.path)
        audio = known.manifest.resolve_audio(row) if apart else None
        files.append(MediaFile(known.manifest.resolve(row), audio))
    answered: list[tuple[ManifestRow, dict[str, float]]] = []
    failed: list[str] = []
    for done, (row, told) in enumerate(zip(rows, bulk.ask(files, trained), strict=True), start=1):
        if told.error:
            failed.append(told.error)
        else:
            answered.append((row, probabilities_of(told.data)))
        seen(done)
    return answered, failed


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
    lead = (
        f"{len(chosen)} of {among} unlabelled clips: what the network says of them is unlike what it says of labelled "
        "clips, and of each other."
    )
    return Page(
        "Clips to label next",
        lead,
        {"Run of": trained.recipe.title, **classes},
        [],
        [how, Section("Clips", clips=shown)],
    )
