import numpy as np
import pytest
import torch

from asgmcli.masks.tube import kept_tokens, tube_mask


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("tokens", "keep", "count"),
    [
        (196, 1 / 3, 65),
        (196, 0.0, 1),
        (196, 1.0, 195),
        (9, 0.5, 4),
        (9, 1, 1),
        (9, 8, 8),
        (2, 0.9, 1),
        (9, np.int64(3), 3),
    ],
)
def test_how_many_tokens_stay(tokens, keep, count):
    assert kept_tokens(tokens, keep) == count


@pytest.mark.parametrize(
    ("tokens", "keep"), [(1, 0.5), (9, 0), (9, 9), (9, -1), (9, 1.2), (9, -0.1), (9, float("nan"))]
)
def test_refuses_what_leaves_a_clip_out(tokens, keep):
    with pytest.raises(ValueError):
        kept_tokens(tokens, keep)


def test_exactly_n_in_every_frame_and_the_same_ones():
    mask = tube_mask(16, 8, 49, 0.4, seeded(0))
    assert mask.shape == (16, 8, 49)
    assert mask.dtype == torch.bool
    assert (mask.sum(dim=2) == 20).all()
    assert (mask == mask[:, :1]).all()
    # Drawn a clip: no two of sixteen tubes are alike.
    assert len({tuple(clip.tolist()) for clip in mask[:, 0]}) == 16


def test_every_subset_is_as_likely():
    # 4 tokens, 2 kept: six subsets. Chi-square with 5 degrees of freedom exceeds 20.5 once in a thousand.
    mask = tube_mask(12_000, 1, 4, 2, seeded(1))[:, 0]
    counts = torch.bincount((mask * torch.tensor([1, 2, 4, 8])).sum(dim=1), minlength=16)
    counts = counts[counts > 0].double()
    assert len(counts) == 6
    assert ((counts - 2000) ** 2 / 2000).sum() < 20.5


def test_the_generator_alone_decides():
    torch.manual_seed(0)
    first = tube_mask(4, 2, 36, 0.3, seeded(7))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(tube_mask(4, 2, 36, 0.3, seeded(7)), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(tube_mask(4, 2, 36, 0.3, seeded(8)), first)
