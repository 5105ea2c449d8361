from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest

from asgmcli.data.manifest import ManifestRow
from asgmcli.data.split import assign_splits, hashed, labeled_subset, partners_by_class, split_counts
from asgmcli.errors import DataError, RecipeError, UsageError


def clip(name: str, label: str) -> ManifestRow:
    return ManifestRow(name, f"{name}.mp4", label, "train", 1.0, 8.0, 8, 96, 96, "", "")


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
        assign_splits({"a": "dog"}, {"train": 0.5, "test": 0.6}, 0)


SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def drawn(label: str, count: int, seed: int = 0) -> dict[str, str]:
    return assign_splits({f"{label}{number}": label for number in range(count)}, SHARES, seed)


@pytest.mark.parametrize(
    ("clips", "counts"),
    # By hand: train, test, then the largest share / (2 count + 1), of equals the first.
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (2, 0, 1)), (4, (3, 0, 1)), (5, (4, 0, 1)), (6, (4, 1, 1)), (10, (7, 1, 2))],
)
def test_small_classes_have_a_test_clip_and_then_the_shares(clips: int, counts: tuple[int, int, int]) -> None:
    assert tuple(split_counts(clips, SHARES, {}).values()) == counts


def test_48_clips_of_four_classes_are_near_the_shares_in_each() -> None:
    labels = {f"{label}/{number}.mp4": label for label in "abcd" for number in range(12)}
    for seed in range(5):
        chosen = assign_splits(labels, SHARES, seed)
        for label in "abcd":
            counts = Counter(split for clip_id, split in chosen.items() if labels[clip_id] == label)
            assert counts == {"train": 9, "val": 1, "test": 2}


@pytest.mark.parametrize("shares", [SHARES, {"train": 0.5, "val": 0.25, "test": 0.25}, {"train": 0.8, "test": 0.2}])
def test_no_count_is_a_clip_from_its_share(shares: dict[str, float]) -> None:
    for clips in range(20, 400, 7):
        for name, count in split_counts(clips, shares, {}).items():
            assert abs(count - shares[name] * clips) < 1, (clips, name)


def moved(before: dict[str, str], after: dict[str, str]) -> list[tuple[str, str]]:
    return [(split, after[name]) for name, split in before.items() if after.get(name, split) != split]


@pytest.mark.parametrize("seed", [0, 1])
def test_one_clip_more_moves_at_most_one_other_over_each_border(seed: int) -> None:
    order = list(SHARES)
    clips = [f"clip{number}" for number in range(120)]
    before: dict[str, str] = {}
    moves = 0
    for number in range(1, len(clips) + 1):
        after = assign_splits(dict.fromkeys(clips[:number], "dog"), SHARES, seed)
        here = moved(before, after)
        for border in (1, 2):  # between train and val, between val and test
            over = [move for move in here if (order.index(move[0]) < border) != (order.index(move[1]) < border)]
            assert len(over) <= 1, (number, here)
        if "val" in before.values() and list(before.values()).count("val") > 1:
            assert not {("train", "test"), ("test", "train")} & set(here)
        moves += len(here)
        before = after
    # On average s (1 - s) twice for each border at s: 0.74 a clip with these shares.
    assert moves < 1.1 * len(clips)


def test_clips_of_other_classes_and_the_order_move_none() -> None:
    dogs = {f"dog{number}": "dog" for number in range(30)}
    cats = {f"cat{number}": "cat" for number in range(17)}
    alone = assign_splits(dogs, SHARES, 3)
    together = assign_splits(cats | dict(reversed(dogs.items())), SHARES, 3)
    assert {name: together[name] for name in dogs} == alone
    assert assign_splits(dogs, SHARES, 4) != alone


def test_in_large_classes_most_clips_stay_when_many_are_added() -> None:
    before, after = drawn("dog", 4000), drawn("dog", 5000)
    # The borders lie at sample quantiles of the hash, which differ by about sqrt(s (1 - s) / n).
    assert len(moved(before, after)) < 0.03 * len(before)
    assert Counter(after.values()) == {"train": 3500, "val": 500, "test": 1000}


def test_the_draw_fills_up_what_fixed_splits_leave_open() -> None:
    open_clips = {f"open{number}": "dog" for number in range(10)}
    chosen = assign_splits(open_clips, SHARES, 0, {"dog": {"test": 5}})
    assert Counter(chosen.values()) == {"train": 9, "val": 1}
    chosen = assign_splits(open_clips, SHARES, 0, {"dog": {"train": 100}})
    assert Counter(chosen.values()) == {"test": 7, "val": 3}
    assert assign_splits(open_clips, SHARES, 0, {"cat": {"test": 5}}) == assign_splits(open_clips, SHARES, 0)
    assert split_counts(1, SHARES, {"train": 1}) == {"train": 0, "val": 0, "test": 1}


def test_a_split_without_a_share_gets_no_clip() -> None:
    clips = {f"clip{number}": "dog" for number in range(40)}
    assert set(assign_splits(clips, {"train": 1.0, "val": 0.0, "test": 0.0}, 0).values()) == {"train"}
    assert set(assign_splits(clips, {"train": 0.0, "val": 0.0, "test": 1.0}, 0).values()) == {"test"}
    with pytest.raises(UsageError, match="train nan"):
        assign_splits(clips, {"train": float("nan"), "test": 0.2}, 0)


@pytest.mark.parametrize("classes", [51, 400, 309])
@pytest.mark.parametrize("per_class", [1, 5])
def test_the_papers_tables_of_labels(classes: int, per_class: int) -> None:
    rows = [clip(f"{label}/{number}", f"class {label}") for label in range(classes) for number in range(8)]
    chosen = labeled_subset(rows, per_class, seed=0)
    assert len(chosen) == len({row.id for row in chosen}) == classes * per_class
    assert set(Counter(row.label for row in chosen).values()) == {per_class}


def test_partners_are_dealt_in_a_circle_by_class() -> None:
    labels = list("aabbbc")
    partner = partners_by_class(labels, [f"clip{number}" for number in range(6)])
    assert sorted(partner) == list(range(6))
    assert all(labels[own] != labels[other] for own, other in enumerate(partner))
    # Three of one class, the most, are the circle's step: of four in five some stay among themselves.
    crowded = partners_by_class(list("aaaab"), list("vwxyz"))
    assert sorted(crowded) == list(range(5))
    assert partners_by_class([], []) == []
