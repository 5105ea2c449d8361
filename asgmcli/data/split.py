"""Seeded draws of labelled subsets and of splits, each decided by the clip's id alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from asgmcli.data.manifest import Row
from asgmcli.errors import DataError, RecipeError, UsageError


def hashed(seed: int, clip_id: str) -> int:
    """A 64-bit number drawn from (seed, clip id): the same on every machine and in every process."""
    text = f"{seed}:{clip_id}".encode("utf-8", errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def labeled_subset(rows: Iterable[Row], per_class: int, seed: int, classes: Iterable[str] = ()) -> list[Row]:
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
    found: dict[str, list[tuple[int, str, Row]]] = {name: [] for name in classes}
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
    chosen: list[Row] = []
    for name in sorted(found):
        chosen += [row for _, _, row in sorted(found[name], key=lambda item: item[:2])[:per_class]]
    return chosen


def assign_splits(ids: Iterable[str], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """A split for each id by its seeded hash: `fractions` maps split names to shares that add up to 1.

    A clip's split does not depend on the other clips, so adding files later moves none from train to test.

    Raises:
        UsageError: shares below 0 or not adding up to 1.
    """
    if any(share < 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        listed = ", ".join(f"{name} {share:g}" for name, share in fractions.items())
        raise UsageError(f"The shares of the splits must be 0 or more and add up to 1, not {listed}.")
    chosen: dict[str, str] = {}
    for clip_id in ids:
        place = hashed(seed, clip_id) / 2**64
        for name, share in fractions.items():
            if share > 0:
                chosen[clip_id] = name
                if place < share:
                    break
            place -= share
    return chosen
