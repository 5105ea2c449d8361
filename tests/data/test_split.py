from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest

from asgmcli.data.manifest import Row
from asgmcli.data.split import assign_splits, hashed, labeled_subset
from asgmcli.errors import DataError, RecipeError, UsageError


def clip(name: str, label: str) -> Row:
    return Row(name, f"{name}.mp4", label, "train", 1.0, 8.0, 8, 96, 96, "", "")


ROWS = [clip(f"{label}_{number}", label) for label in ("b", "a", "c") for number in range(20)]


def test_the_hash_is_the_documented_one() -> None:
    digest = hashlib.blake2b(b"3:clip", digest_size=8).digest()
    assert hashed(3, "clip") == int.from_bytes(digest, "big")


@pytest.mark.parametrize("per_class", [1, 5])
def test_each_class_gets_its_clips_with_the_smallest_hashes(per_class: int) -> None:
    chosen = labeled_subset(ROWS, per_class, seed=7)
    assert Counter(row.label for row in chosen) == {"a": per_class, "b": per_class, "c": per_class}
    for label in "abc":
        ranked = sorted((row for row in ROWS if row.label == label), key=lambda row: hashed(7, row.id))
        assert [row for row in chosen if row.label == label] == ranked[:per_class]


def test_the_draw_ignores_order_missing_files_of_others_and_unlabelled_clips() -> None:
    chosen = labeled_subset(ROWS, 3, seed=1)
    mixed = [*ROWS, clip("u", "")]
    random.Random(0).shuffle(mixed)
    assert labeled_subset(mixed, 3, seed=1) == chosen
    fewer = [row for row in ROWS if row.label != "b" or row.id.endswith(("1", "2", "3"))]
    assert [row for row in labeled_subset(fewer, 3, seed=1) if row.label != "b"] == [
        row for row in chosen if row.label != "b"
    ]


def test_larger_draws_contain_smaller_ones_and_seeds_differ() -> None:
    one, five = labeled_subset(ROWS, 1, seed=0), labeled_subset(ROWS, 5, seed=0)
    assert {row.id for row in one} < {row.id for row in five}
    assert labeled_subset(ROWS, 5, seed=1) != five


def test_too_few_clips_name_every_short_class() -> None:
    rows = [*ROWS, clip("d_0", "d"), clip("e_0", "e"), clip("e_1", "e")]
    with pytest.raises(DataError, match=r"asks for 3 .* d has 1, e has 2") as caught:
        labeled_subset(rows, 3, seed=0)
    assert caught.value.exit_code == 3


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(RecipeError, match="labeled_per_class"):
        labeled_subset(ROWS, 0, seed=0)
    with pytest.raises(DataError, match="No row has a label"):
        labeled_subset([clip("u", "")], 1, seed=0)
    with pytest.raises(UsageError, match=r"train 0\.5, test 0\.6"):
        assign_splits(["a"], {"train": 0.5, "test": 0.6}, 0)


def test_splits_follow_the_shares_and_stay_when_files_are_added() -> None:
    shares = {"train": 0.7, "val": 0.1, "test": 0.2}
    ids = [f"clip{i}" for i in range(5000)]
    chosen = assign_splits(ids, shares, seed=0)
    counts = Counter(chosen.values())
    # Five standard deviations of a binomial draw.
    for name, share in shares.items():
        assert abs(counts[name] - 5000 * share) < 5 * (5000 * share * (1 - share)) ** 0.5
    few = assign_splits(ids[::-3], shares, seed=0)
    assert all(chosen[name] == split for name, split in few.items())
    assert set(assign_splits(ids, {"train": 1.0, "val": 0.0}, 0).values()) == {"train"}


@pytest.mark.parametrize("classes", [51, 400, 309])
@pytest.mark.parametrize("per_class", [1, 5])
def test_the_papers_tables_of_labels(classes: int, per_class: int) -> None:
    rows = [clip(f"{label}/{number}", f"class {label}") for label in range(classes) for number in range(8)]
    chosen = labeled_subset(rows, per_class, seed=0)
    assert len(chosen) == len({row.id for row in chosen}) == classes * per_class
    assert set(Counter(row.label for row in chosen).values()) == {per_class}
