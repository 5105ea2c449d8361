import pytest
import torch

from asgmcli.masks.block import block_mask


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def drawn(mask, columns):
    return ["".join(".#"[int(cell)] for cell in row) for row in mask.view(-1, columns)]


def test_by_hand():
    # Of 2 x 2 tokens three: the one place they have. Of 3 x 3 eight: a square of three, its last token missing.
    assert drawn(block_mask(1, 1, (2, 2), 3, seeded(0))[0, 0], 2) == ["##", "#."]
    assert drawn(block_mask(1, 1, (3, 3), 8, seeded(0))[0, 0], 3) == ["###", "###", "##."]
    # One row of five: two of them side by side, never rounded to a square.
    assert drawn(block_mask(1, 1, (1, 5), 2, seeded(0))[0, 0], 5)[0].strip(".") == "##"
    # Two columns: five tokens are no square, three rows hold them.
    assert [row for row in drawn(block_mask(1, 1, (4, 2), 5, seeded(0))[0, 0], 2) if "#" in row] == ["##", "##", "#."]


@pytest.mark.parametrize("grid", [(7, 7), (2, 6), (6, 2), (1, 9), (3, 4)])
def test_every_count_is_one_piece_of_exactly_that_many(grid):
    rows, columns = grid
    for count in range(1, rows * columns):
        for mask in block_mask(4, 1, grid, count, seeded(count))[:, 0]:
            cells = mask.view(grid)
            assert int(cells.sum()) == count
            high, wide = int(cells.any(1).sum()), int(cells.any(0).sum())
            assert (high - 1) * wide < count <= high * wide  # full but for the end of its last row
            bottom = cells.nonzero()[:, 0].max()
            assert bool(cells[: bottom + 1][cells[: bottom + 1].any(1)][:-1].sum(1).eq(wide).all())


def test_the_same_in_all_frames_and_every_place_as_likely():
    mask = block_mask(6000, 2, (3, 4), 4, seeded(1))
    assert mask.shape == (6000, 2, 12)
    assert mask.dtype == torch.bool
    assert torch.equal(mask[:, 0], mask[:, 1])
    corners = mask[:, 0].int().argmax(dim=1)  # the top left token
    counts = torch.bincount(corners, minlength=12)
    assert counts.nonzero().flatten().tolist() == [0, 1, 2, 4, 5, 6]
    assert bool((counts[counts > 0] - 1000).abs().lt(150).all())


def test_refuses_what_leaves_a_clip_out():
    with pytest.raises(ValueError, match="kept tokens"):
        block_mask(1, 1, (2, 2), 4, seeded(0))
