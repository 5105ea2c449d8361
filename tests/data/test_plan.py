from __future__ import annotations

from collections import Counter

import pytest

from asgmcli.data.plan import Plan, SampleKey, generator


def split(plan: Plan, epoch: int, start: int = 0) -> list[tuple[list[SampleKey], list[SampleKey]]]:
    return [
        ([key for key in batch if key.stream == "labeled"], [key for key in batch if key.stream == "unlabeled"])
        for batch in plan.batches(epoch, start)
    ]


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "batch", "ratio"), [(10, 100, 4, 5), (3, 41, 2, 3), (50, 7, 8, 5), (9, 9, 2, 5)]
)
def test_an_epoch_sees_every_clip_and_keeps_the_ratio(labeled: int, unlabeled: int, batch: int, ratio: int) -> None:
    plan = Plan(labeled, unlabeled, batch, ratio, seed=1)
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


def test_epochs_and_seeds_are_shuffled_anew_and_always_alike() -> None:
    orders = {
        (seed, epoch): tuple(key.number for _, many in split(Plan(5, 60, 2, 5, seed), epoch) for key in many)
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    assert list(Plan(5, 60, 2, 5, 0).batches(1)) == list(Plan(5, 60, 2, 5, 0).batches(1))


@pytest.mark.parametrize("start", [0, 1, 4, 6])
def test_an_epoch_begun_in_its_middle_is_the_tail_of_the_whole(start: int) -> None:
    plan = Plan(5, 60, 2, 5, seed=2)
    assert list(plan.batches(1, start)) == list(plan.batches(1))[start:]


def test_supervised_epochs_leave_the_unlabelled_clips_out_and_the_labelled_as_they_were() -> None:
    plan = Plan(5, 60, 2, 5, seed=0, supervised_epochs=2)
    assert all(not many for _, many in split(plan, 1))
    assert all(len(many) == 10 for _, many in split(plan, 2))
    later = Plan(5, 60, 2, 5, seed=0)
    assert [few for few, _ in split(plan, 1)] == [few for few, _ in split(later, 1)]
    assert plan.steps == later.steps


def test_without_unlabelled_clips_an_epoch_sees_the_labelled_once() -> None:
    for plan in (Plan(10, 0, 4, 5, seed=0), Plan(10, 99, 4, 0, seed=0)):
        keys = [key for batch in plan.batches(0) for key in batch]
        assert plan.steps == 3
        assert Counter(key.number for key in keys if key.occurrence == 0) == Counter(range(10))
        assert {key.stream for key in keys} == {"labeled"}


def test_generators_depend_on_seed_and_names_alone() -> None:
    assert generator(1, "a", 2).random() == generator(1, "a", 2).random()
    draws = {generator(*names).random() for names in [(1, "a", 2), (2, "a", 2), (1, "b", 2), (1, "a", 3), (1, "a")]}
    assert len(draws) == 5
