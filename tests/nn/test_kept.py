"""Features kept: each computed once, always as many at once, and nothing else stays in memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asgmcli.nn.kept import AT_ONCE, Kept, name_sounds


def test_each_is_computed_once_and_always_as_many_at_once() -> None:
    kept, inputs = Kept(), torch.arange(20.0)
    asked: list[list[int]] = []

    def squares(places: list[int]) -> Tensor:
        asked.append(places)
        return inputs[places, None].square().expand(-1, 3)

    assert kept("aba", squares).tolist() == [[4.0] * 3, [1.0] * 3, [4.0] * 3]  # the last of equal keys is computed
    assert kept("ba", squares).tolist() == [[1.0] * 3, [4.0] * 3]
    assert len(asked) == 1
    assert sorted(set(asked[0])) == [1, 2]
    inputs += 100
    found = kept([*"ab", *range(10)], squares)
    assert found[:2].tolist() == [[4.0] * 3, [1.0] * 3]
    assert found[2:, 0].tolist() == [(100.0 + place) ** 2 for place in range(2, 12)]
    assert [len(places) for places in asked] == [AT_ONCE] * 3


@pytest.mark.parametrize("new", [1, 3, AT_ONCE])
def test_what_fills_up_is_not_kept(new: int) -> None:
    kept = Kept()
    kept(range(new), lambda places: torch.zeros(len(places), 100))
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage() for value in kept._found.values()}
    assert sum(storage.nbytes() for storage in storages.values()) == 400 * new


def test_no_more_is_kept_than_may_be() -> None:
    kept = Kept(most=2 * 400)
    asked: list[int] = []

    def numbers(places: list[int]) -> Tensor:
        asked.append(len(set(places)))
        return torch.tensor([[float(place)] * 100 for place in places])

    for _ in range(2):
        assert kept("ab", numbers)[:, 0].tolist() == [0.0, 1.0]
    assert asked == [2]
    for _ in range(2):
        assert kept("abc", numbers)[:, 0].tolist() == [0.0, 1.0, 2.0]
    assert asked == [2, 1, 1]


def test_equal_samples_have_equal_names() -> None:
    wave = torch.tensor([[0.5, 0.0], [0.0, 0.5], [0.5, 0.0]])
    first, second, third = name_sounds(wave)
    assert first == third != second
    assert name_sounds(wave.T.contiguous().T) == [first, second, third]  # whatever the order in memory
