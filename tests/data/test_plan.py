from __future__ import annotations

from collections import Counter

import pytest

from asgmcli.data.plan import Plan, RankShare, SampleKey, Stream, generator, next_clips, next_windows


def two_lists(labeled: int, unlabeled: int, batch: int, ratio: int, seed: int, supervised_epochs: int = 0) -> Plan:
    many = Stream(unlabeled, batch * ratio, first_epoch=supervised_epochs)
    return Plan({"labeled": Stream(labeled, batch), "unlabeled": many}, seed)


def split(plan: Plan, epoch: int, start: int = 0) -> list[tuple[list[SampleKey], list[SampleKey]]]:
    return [
        ([key for key in batch if key.stream == "labeled"], [key for key in batch if key.stream == "unlabeled"])
        for batch in plan.batches(epoch, start)
    ]


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "batch", "ratio"), [(10, 100, 4, 5), (3, 41, 2, 3), (50, 7, 8, 5), (9, 9, 2, 5)]
)
def test_an_epoch_sees_every_clip_and_keeps_the_ratio(labeled: int, unlabeled: int, batch: int, ratio: int) -> None:
    plan = two_lists(labeled, unlabeled, batch, ratio, seed=1)
    steps = split(plan, epoch=3)
    assert len(steps) == plan.steps == max(-(-unlabeled // (batch * ratio)), -(-labeled // batch))
    assert all(len(few) == batch and len(many) == batch * ratio for few, many in steps)
    drawn = Counter(key.number for _, many in steps for key in many if key.occurrence == 0)
    assert drawn == Counter(range(unlabeled))
    repeats = plan.steps * batch * ratio - unlabeled
    assert sum(key.occurrence > 0 for _, many in steps for key in many) == repeats
    # The labelled list repeats evenly, each of its passes another draw of the clip.
    keys = [key for few, _ in steps for key in few]
    counts = Counter(key.number for key in keys)
    assert set(counts) == set(range(labeled))
    assert max(counts.values()) - min(counts.get(number, 0) for number in range(labeled)) <= 1
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("labeled", "steps"), [(51, 6), (255, 31), (8, 1), (7, 0)])
def test_an_epoch_of_the_labelled_list_has_its_full_batches_and_other_unlabelled_clips_each_time(
    labeled: int, steps: int
) -> None:
    streams = {"labeled": Stream(labeled, 8), "unlabeled": Stream(4850, 40, stretches=False)}
    plan = Plan(streams, 0, partial="drop")
    assert plan.steps == steps
    epochs = [split(plan, epoch) for epoch in range(3)]
    assert [len(found) for found in epochs] == [steps] * 3
    for found in epochs:
        few = [key.number for part, _ in found for key in part]
        many = [key.number for _, part in found for key in part]
        assert len(set(few)) == len(few) == 8 * steps  # no clip twice, up to 7 of them left out
        assert len(set(many)) == len(many) == 40 * steps
    seen = {key.number for found in epochs for _, part in found for key in part}
    assert not steps or len(seen) > 1.8 * 40 * steps


def test_epochs_and_seeds_are_shuffled_anew_and_always_alike() -> None:
    orders = {
        (seed, epoch): tuple(key.number for _, many in split(two_lists(5, 60, 2, 5, seed), epoch) for key in many)
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    assert list(two_lists(5, 60, 2, 5, 0).batches(1)) == list(two_lists(5, 60, 2, 5, 0).batches(1))


@pytest.mark.parametrize("start", [0, 1, 4, 6])
def test_an_epoch_begun_in_its_middle_is_the_tail_of_the_whole(start: int) -> None:
    plan = two_lists(5, 60, 2, 5, seed=2)
    assert list(plan.batches(1, start)) == list(plan.batches(1))[start:]


def test_supervised_epochs_leave_the_unlabelled_clips_out_and_the_labelled_as_they_were() -> None:
    plan = two_lists(5, 60, 2, 5, seed=0, supervised_epochs=2)
    assert all(not many for _, many in split(plan, 1))
    assert all(len(many) == 10 for _, many in split(plan, 2))
    later = two_lists(5, 60, 2, 5, seed=0)
    assert [few for few, _ in split(plan, 1)] == [few for few, _ in split(later, 1)]
    assert plan.steps == later.steps


def test_without_unlabelled_clips_an_epoch_sees_the_labelled_once() -> None:
    for plan in (two_lists(10, 0, 4, 5, seed=0), two_lists(10, 99, 4, 0, seed=0)):
        keys = [key for batch in plan.batches(0) for key in batch]
        assert plan.steps == 3
        assert Counter(key.number for key in keys if key.occurrence == 0) == Counter(range(10))
        assert {key.stream for key in keys} == {"labeled"}


def test_streams_of_any_name_and_number() -> None:
    streams = {"a": Stream(4, 2), "b": Stream(9, 3, first_epoch=1), "c": Stream(1, 1), "none": Stream(0, 2)}
    plan = Plan(streams, seed=0)
    assert plan.steps == 3
    assert [Counter(key.stream for key in batch) for batch in plan.batches(1)] == [{"a": 2, "b": 3, "c": 1}] * 3
    assert [Counter(key.stream for key in batch) for batch in plan.batches(0)] == [{"a": 2, "c": 1}] * 3
    assert [key.stream for key in next(plan.batches(1))] == ["a", "a", "b", "b", "b", "c"]
    assert Counter(key.number for batch in plan.batches(1) for key in batch if key.stream == "b") == Counter(range(9))
    # A stream's draws are its own, whatever stands beside it.
    alone = Plan({"a": Stream(4, 2), "long": Stream(6, 2)}, seed=0)
    assert [[key for key in batch if key.stream == "a"] for batch in plan.batches(1)] == [
        [key for key in batch if key.stream == "a"] for batch in alone.batches(1)
    ]
    assert Plan({}, seed=0).steps == 0


def test_the_shuffles_are_those_that_runs_were_made_with() -> None:
    """The numbers are of the runs in RESULTS.md: another order is another experiment."""
    plan = two_lists(3, 7, 2, 2, seed=1)
    found = [[(key.stream[0], key.number, key.occurrence) for key in batch] for batch in plan.batches(1)]
    assert found == [
        [("l", 1, 0), ("l", 0, 0), ("u", 0, 0), ("u", 2, 0), ("u", 1, 0), ("u", 3, 0)],
        [("l", 2, 0), ("l", 0, 1), ("u", 5, 0), ("u", 4, 0), ("u", 6, 0), ("u", 5, 1)],
    ]
    pairs = Plan({"pairs": Stream(5, 3, seed_name="labeled")}, seed=4)
    assert [[key.number for key in batch] for batch in pairs.batches(1)] == [[3, 1, 4], [2, 0, 2]]
    assert {key.stream for batch in pairs.batches(1) for key in batch} == {"pairs"}


def test_the_last_clips_are_left_out_or_make_a_smaller_batch() -> None:
    fill, drop, keep = (Plan({"clips": Stream(11, 4)}, seed=3, partial=partial) for partial in ("fill", "drop", "keep"))
    assert [len(batch) for batch in fill.batches(0)] == [4, 4, 4]
    assert [len(batch) for batch in drop.batches(0)] == [4, 4]
    assert [len(batch) for batch in keep.batches(0)] == [4, 4, 3]
    assert list(drop.batches(0)) == list(fill.batches(0))[:2]
    kept = [key.number for batch in keep.batches(0) for key in batch]
    assert Counter(kept) == Counter(range(11))
    # Each epoch leaves other clips out.
    assert len({frozenset(key.number for batch in drop.batches(epoch) for key in batch) for epoch in range(5)}) == 5
    assert Plan({"clips": Stream(3, 4)}, seed=0, partial="drop").steps == 0
    assert [len(batch) for batch in Plan({"clips": Stream(8, 4)}, seed=0, partial="keep").batches(0)] == [4, 4]


def test_a_shorter_list_beside_one_whose_last_batch_is_smaller() -> None:
    plan = Plan({"many": Stream(7, 3), "few": Stream(2, 1)}, seed=0, partial="keep")
    assert [Counter(key.stream for key in batch) for batch in plan.batches(0)] == [
        {"many": 3, "few": 1},
        {"many": 3, "few": 1},
        {"many": 1, "few": 1},
    ]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_a_smaller_batch(ranks: int) -> None:
    streams = {"clips": Stream(16, 6)}
    whole = list(Plan(streams, 0, partial="keep").batches(1))
    parts = [list(Plan(streams, 0, RankShare(rank, ranks), "keep").batches(1)) for rank in range(ranks)]
    joined = [[key for part in parts for key in part[step]] for step in range(len(whole))]
    assert joined == whole
    assert all(batch for part in parts for batch in part)
    # One clip is left: it is filled up to one a process.
    parts = [list(Plan({"c": Stream(7, 6)}, 0, RankShare(rank, ranks), "keep").batches(0)) for rank in range(ranks)]
    assert [len(part[-1]) for part in parts] == [1] * ranks


def test_generators_depend_on_seed_and_names_alone() -> None:
    assert generator(1, "a", 2).random() == generator(1, "a", 2).random()
    draws = {generator(*names).random() for names in [(1, "a", 2), (2, "a", 2), (1, "b", 2), (1, "a", 3), (1, "a")]}
    assert len(draws) == 5


def test_a_following_stream_stretches_no_epoch_and_goes_on_across_epochs() -> None:
    plan = Plan({"first": Stream(4, 2), "second": Stream(7, 3, first_epoch=1, follows=True)}, seed=3)
    assert plan.steps == 2
    assert all(key.stream == "first" for batch in plan.batches(0) for key in batch)
    drawn = [key.number for epoch in range(1, 8) for batch in plan.batches(epoch) for key in batch[2:]]
    assert len(drawn) == 7 * 2 * 3
    for start in range(0, 42, 7):  # every seven draws are one shuffle of the seven clips
        assert sorted(drawn[start : start + 7]) == list(range(7))
    assert list(plan.batches(5, start=1)) == list(plan.batches(5))[1:]


def test_the_next_clip_is_never_the_own() -> None:
    others = next_clips(["a", "b", "c", "d"])
    assert sorted(others.values()) == ["a", "b", "c", "d"]
    assert all(clip != other for clip, other in others.items())
    assert next_clips(["a"]) == {}


def test_a_window_has_one_of_the_next_clip_as_far_in() -> None:
    clips = ["a", "a", "a", "b", "b"]  # of two clips each is the other's next
    assert next_windows(clips) == [3, 4, 3, 0, 1]
    assert next_windows(["a", "a"]) == []
    assert next_windows([]) == []
