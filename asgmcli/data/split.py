"""Seeded draws of labelled subsets and of splits, by the rank of a hash of the clip's id within its class."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from asgmcli.data.manifest import ManifestRow
from asgmcli.errors import DataError, RecipeError, UsageError


def hashed(seed: int, clip_id: str) -> int:
    """Return a 64-bit number drawn from (seed, clip id): the same on every machine and in every process."""
    text = f"{seed}:{clip_id}".encode("utf-8", errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def labeled_subset(
    rows: Iterable[ManifestRow], per_class: int, seed: int, classes: Iterable[str] = ()
) -> list[ManifestRow]:
    """Return the `per_class` labelled clips of each class that keep their label, ordered by class, then by draw.

    The clips of a class with the smallest seeded hash of their id: the draw depends neither on the order of `rows` nor
    on which files of other classes are missing, and the draw for k clips is contained in that for k + 1. Unlabelled
    rows are passed over. Give the training rows only.

    Args:
        rows: clips to draw from.
        per_class: labelled clips of each class.
        seed: of the draw.
        classes: names that must be among the labels; those of `rows` are known.

    Raises:
        RecipeError: `per_class` is below 1.
        DataError: a class has fewer clips than `per_class`; all such classes are named with their counts.
    """
    if per_class < 1:
        raise RecipeError(f"data.labeled_per_class is {per_class}; it must be 1 or more.")
    found: dict[str, list[tuple[int, str, ManifestRow]]] = {name: [] for name in classes}
    for row in rows:
        if row.label:
            found.setdefault(row.label, []).append((hashed(seed, row.id), row.id, row))
    if not any(found.values()):
        raise DataError("No row has a label, so no labelled clips can be drawn; prepare the data with labels.")
    short = [f"{name} has {len(clips)}" for name, clips in sorted(found.items()) if len(clips) < per_class]
    if short:
        more = f" and {len(short) - 10} more classes" if len(short) > 10 else ""
        raise DataError(
            f"data.labeled_per_class asks for {per_class} labelled clips a class, but {', '.join(short[:10])}{more}. "
            "Ask for fewer, label more, or take the labels that are there: --set data.labeled_per_class=null"
        )
    chosen: list[ManifestRow] = []
    for name in sorted(found):
        chosen += [row for _, _, row in sorted(found[name], key=lambda item: item[:2])[:per_class]]
    return chosen


def check_shares(fractions: Mapping[str, float]) -> None:
    """Check that the shares of the splits can be.

    Raises:
        UsageError: shares below 0 or not adding up to 1.
    """
    if not all(share >= 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        listed = ", ".join(f"{name} {share:g}" for name, share in fractions.items())
        raise UsageError(f"The shares of the splits must be 0 or more and add up to 1, not {listed}.")


def assign_splits(
    labels: Mapping[str, str],
    fractions: Mapping[str, float],
    seed: int,
    given: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, str]:
    """Return a split for each clip, drawn so that every class is near the shares.

    The clips of a class are ranked by the seeded hash of their id. The lowest ranks form the first split, the next ones
    the second and so on; `split_counts` says how many each gets. One clip more in a class (or one fewer) thus moves at
    most one other clip over each border between neighbouring splits (with train, val and test at most two in all, and
    none from train to test while val has clips of the class), and none of other classes.

    Args:
        labels: the class of each clip to draw for, by id.
        fractions: the share of each split, adding up to 1; the order is that of the ranks.
        seed: of the hash.
        given: by class how many other clips each split has already; the draw fills up what they leave open.

    Raises:
        UsageError: shares below 0 or not adding up to 1.
    """
    check_shares(fractions)
    classes: dict[str, list[tuple[int, str]]] = {}
    for clip_id, label in labels.items():
        classes.setdefault(label, []).append((hashed(seed, clip_id), clip_id))
    chosen: dict[str, str] = {}
    for label, ranked in classes.items():
        counts = split_counts(len(ranked), fractions, (given or {}).get(label, {}))
        names = (name for name, count in counts.items() for _ in range(count))
        chosen.update((clip_id, name) for (_, clip_id), name in zip(sorted(ranked), names, strict=True))
    return chosen


def split_counts(clips: int, fractions: Mapping[str, float], given: Mapping[str, int]) -> dict[str, int]:
    """Return how many of a class's `clips` each split gets, beside those that it has already (`given`).

    The first split with a share gets a clip first, then the last one (train and test), so that a class of two clips has
    one in each; every further clip goes where it is most due (Webster's method: the largest share / (2 count + 1), of
    equals the first). Counts never fall when clips are added.
    """
    # Whole numbers, so that equals are equal: 0.7 / 7 and 0.1 are not.
    weights = {name: round(share * 10**9) for name, share in fractions.items() if share > 0}
    counts = {name: given.get(name, 0) for name in weights}
    names = list(weights)
    for _ in range(clips):
        empty = [name for name in (names[0], names[-1]) if not counts[name]]
        due = empty[0] if empty else max(names, key=lambda name: weights[name] / (2 * counts[name] + 1))
        counts[due] += 1
    return {name: count - given.get(name, 0) for name, count in counts.items()}


def partners_by_class(labels: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return for each clip another one's place, each clip once: dealt in a circle by class.

    The other one is of another class where no class has more than half of the clips.

    Args:
        labels: class of each clip.
        names: id of each clip, which decides the order within a class.
    """
    order = sorted(range(len(names)), key=lambda place: (labels[place], hashed(0, names[place])))
    step = max(Counter(labels).values(), default=0)
    partner = {own: order[(place + step) % len(order)] for place, own in enumerate(order)}
    return [partner[place] for place in range(len(names))]
