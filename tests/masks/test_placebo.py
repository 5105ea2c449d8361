import pytest
import torch

from asgmcli.masks.placebo import far_shifts, misplaced


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def circular(distance, size):
    return min(distance % size, -distance % size)


@pytest.mark.parametrize("shape", [(6, 6), (7, 4), (1, 5), (2, 2), (14, 14)])
def test_a_rolled_spot_lies_a_third_away_in_all_frames(shape):
    rows, columns = shape
    maps = torch.zeros(40, 3, *shape)
    maps[:, :, 0, 1] = 1.0
    maps[:, 1, 0, 1] = 2.0
    found = misplaced(maps, "roll", seeded(1))
    assert torch.equal(found.amax((2, 3)), maps.amax((2, 3)))
    assert torch.equal((found > 0).sum((2, 3)), torch.ones(40, 3, dtype=torch.int64))
    places = {tuple(place.tolist()[1:]) for place in found[:, 0].nonzero()}
    assert len(places) > min(3, len(far_shifts(*shape)) - 1)
    for clip in found:
        (frame, row, column), *others = clip.nonzero().tolist()
        assert frame == 0
        assert [other[1:] for other in others] == [[row, column]] * 2
        away = (circular(row, rows) / rows, circular(column - 1, columns) / columns)
        assert max(away) >= 1 / 3


def test_a_rolled_map_keeps_its_shape():
    maps = torch.randn(5, 2, 6, 4, generator=seeded(2))
    found = misplaced(maps, "roll", seeded(3))
    for before, after in zip(maps, found, strict=True):
        shifts = [(r, c) for r in range(6) for c in range(4) if torch.equal(before.roll((r, c), (1, 2)), after)]
        assert len(shifts) == 1
        assert shifts[0] in far_shifts(6, 4)


def test_shuffled_cells_are_the_same_cells_and_alike_in_all_frames():
    maps = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    found = misplaced(maps, "shuffle", seeded(4))
    assert torch.equal(found.flatten(2).sort(dim=2).values, maps.flatten(2))
    orders = (found - found.amin((2, 3), keepdim=True)).flatten(2)
    assert torch.equal(orders[:, 0], orders[:, 2])
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(found, maps)


@pytest.mark.parametrize("kind", ["roll", "shuffle"])
def test_draws_follow_the_generator_and_the_argument_stays(kind):
    maps = torch.randn(4, 2, 6, 6, generator=seeded(5))
    before, state = maps.clone(), torch.get_rng_state()
    first = misplaced(maps, kind, seeded(6))
    assert torch.equal(first, misplaced(maps, kind, seeded(6)))
    assert not torch.equal(first, misplaced(maps, kind, seeded(7)))
    assert torch.equal(maps, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_refusals():
    with pytest.raises(ValueError, match="single cell"):
        misplaced(torch.ones(2, 2, 1, 1), "roll", seeded(0))
    with pytest.raises(ValueError, match="'roll' or 'shuffle'"):
        misplaced(torch.ones(2, 2, 3, 3), "turn", seeded(0))
