import itertools
import math

import numpy as np
import pytest
import torch

from asgmcli.masks.heatmap import apart, draw_tokens, heatmap_mask, token_weights


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def slow_bilinear(image, rows, columns):
    """Resize [h][w] by half-pixel centres, clamped at the borders, one output at a time."""
    height, width = len(image), len(image[0])

    def place(index, size, target):
        position = min(max((index + 0.5) * size / target - 0.5, 0), size - 1)
        below = min(int(position), size - 1)
        return below, min(below + 1, size - 1), position - below

    result = []
    for row in range(rows):
        y0, y1, fy = place(row, height, rows)
        for column in range(columns):
            x0, x1, fx = place(column, width, columns)
            top = image[y0][x0] * (1 - fx) + image[y0][x1] * fx
            bottom = image[y1][x0] * (1 - fx) + image[y1][x1] * fx
            result.append(top * (1 - fy) + bottom * fy)
    return result


def slow_weights(heatmap, grid, average_frames, sharpness):
    """The guided draw of docs/METHOD.md a frame: average the group, resize, min-max, power, floor."""
    result = []
    for clip in heatmap.double().tolist():
        frames = []
        for t in range(len(clip)):
            start = t - t % average_frames
            group = np.mean(clip[start : start + average_frames], axis=0).tolist()
            cells = slow_bilinear(group, *grid)
            low, high = min(cells), max(cells)
            frames.append([max(((v - low) / (high - low)) ** sharpness, 1e-6) for v in cells])
        result.append(frames)
    return torch.tensor(result, dtype=torch.float64)


def subset_probability(weights, subset):
    """Probability that sequential proportional draws without replacement end in this subset, over all orders."""
    total = 0.0
    for order in itertools.permutations(subset):
        left, probability = sum(weights), 1.0
        for index in order:
            probability *= weights[index] / left
            left -= weights[index]
        total += probability
    return total


def slow_inclusions(weights, count, draws, seed):
    """[N] how often each cell was kept in `draws` sequential draws of `count` cells."""
    random = np.random.RandomState(seed)
    inclusions = np.zeros(len(weights))
    for _ in range(draws):
        left = np.array(weights, dtype=np.float64)
        for _ in range(count):
            cell = np.searchsorted(np.cumsum(left), random.rand() * left.sum(), side="right")
            inclusions[cell] += 1
            left[cell] = 0
    return inclusions


@pytest.mark.parametrize("average_frames", [1, 2, 4])
@pytest.mark.parametrize("sharpness", [1.0, 4.0])
@pytest.mark.parametrize(("size", "grid"), [((7, 7), (14, 14)), ((6, 9), (4, 5)), ((5, 5), (5, 5))])
def test_weights_equal_a_slow_reference(average_frames, sharpness, size, grid):
    heatmap = torch.randn(2, 4, *size, generator=seeded(3)) * 5 - 2
    expected = slow_weights(heatmap, grid, average_frames, sharpness)
    weights = token_weights(heatmap, grid, average_frames, sharpness)
    torch.testing.assert_close(weights, expected, rtol=1e-6, atol=1e-9)


def test_weights_by_hand():
    heatmap = torch.tensor([[[[1.0, 3.0], [2.0, 5.0]]]])
    assert token_weights(heatmap, (2, 2))[0, 0].tolist() == pytest.approx([1e-6, 0.5, 0.25, 1])
    assert token_weights(heatmap, (2, 2), sharpness=2)[0, 0].tolist() == pytest.approx([1e-6, 0.25, 0.0625, 1])


def test_weights_follow_neither_scale_nor_offset():
    heatmap = torch.rand(2, 2, 7, 7, generator=seeded(4), dtype=torch.float64)
    torch.testing.assert_close(token_weights(heatmap * 1e-20, (14, 14)), token_weights(heatmap, (14, 14)))
    torch.testing.assert_close(token_weights(heatmap * 3 - 7, (14, 14)), token_weights(heatmap, (14, 14)))


@pytest.mark.parametrize("value", [0.0, 0.3, -2.7, 1e-38, 1e30])
def test_a_flat_map_is_uniform(value):
    # Interpolating a constant leaves rounding noise; normalised, that would look like a map.
    noise = 1 + 1e-7 * torch.rand(1, 2, 7, 7, generator=seeded(5))
    weights = token_weights(value * noise, (14, 14))
    assert weights.min() == weights.max() > 0


AWKWARD = {
    "zero": torch.zeros(3, 4, 6, 6),
    "flat": torch.full((3, 4, 6, 6), 0.1),
    "one hot": torch.zeros(3, 4, 36).index_fill(2, torch.tensor([14]), 1.0).reshape(3, 4, 6, 6),
    "tiny": torch.rand(3, 4, 6, 6, generator=seeded(6)) * 1e-38,
    "huge": torch.randn(3, 4, 6, 6, generator=seeded(7)) * 1e37,
    "negative": -torch.rand(3, 4, 6, 6, generator=seeded(8)),
    "half": torch.rand(3, 4, 6, 6, generator=seeded(9)).half(),
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize(("keep", "count"), [(0.0, 1), (1 / 3, 12), (0.7, 25), (1.0, 35), (20, 20)])
@pytest.mark.parametrize("average_frames", [1, 4])
def test_exactly_n_tokens_whatever_the_map(name, keep, count, average_frames):
    mask = heatmap_mask(AWKWARD[name], grid=(6, 6), keep=keep, generator=seeded(1), average_frames=average_frames)
    assert mask.shape == (3, 4, 36)
    assert mask.dtype == torch.bool
    assert (mask.sum(dim=2) == count).all()
    if name == "one hot":
        assert mask[:, :, 14].all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_refuses_what_is_not_finite(bad):
    heatmap = torch.rand(1, 2, 3, 3, generator=seeded(2))
    heatmap[0, 1, 2, 0] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        heatmap_mask(heatmap, grid=(3, 3), keep=0.5, generator=seeded(2))


def test_refuses_frames_that_do_not_group_and_no_sharpness():
    heatmap = torch.rand(1, 6, 3, 3, generator=seeded(2))
    for wrong in (0, 4, 8):
        with pytest.raises(ValueError, match="average_frames"):
            token_weights(heatmap, (3, 3), average_frames=wrong)
    with pytest.raises(ValueError, match="sharpness"):
        token_weights(heatmap, (3, 3), sharpness=0)


def test_groups_of_frames_share_one_draw():
    heatmap = torch.rand(4, 8, 7, 7, generator=seeded(3))
    mask = heatmap_mask(heatmap, grid=(7, 7), keep=0.4, generator=seeded(4), average_frames=2)
    pairs = mask.reshape(4, 4, 2, 49)
    assert torch.equal(pairs[:, :, 0], pairs[:, :, 1])
    assert not torch.equal(pairs[:, 0, 0], pairs[:, 1, 0])
    alone = heatmap_mask(heatmap, grid=(7, 7), keep=0.4, generator=seeded(4))
    assert not torch.equal(alone[:, 0], alone[:, 1])


def test_the_generator_alone_decides():
    heatmap = torch.rand(4, 2, 7, 7, generator=seeded(3))
    before = heatmap.clone()
    state = torch.get_rng_state()
    first = heatmap_mask(heatmap, grid=(14, 14), keep=0.3, generator=seeded(5))
    assert torch.equal(heatmap_mask(heatmap, grid=(14, 14), keep=0.3, generator=seeded(5)), first)
    assert not torch.equal(heatmap_mask(heatmap, grid=(14, 14), keep=0.3, generator=seeded(6)), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(heatmap, before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_subsets_are_as_likely_as_in_sequential_drawing(count):
    """Chi-square over all subsets, against their probabilities summed over the orders of drawing."""
    weights = [0.5, 0.05, 1.0, 0.2, 0.8]
    draws = 40_000
    mask = draw_tokens(torch.tensor(weights, dtype=torch.float64).expand(draws, 5), count, seeded(11))
    seen = torch.bincount((mask * torch.tensor([1, 2, 4, 8, 16])).sum(dim=1), minlength=32)
    subsets = list(itertools.combinations(range(5), count))
    expected = [draws * subset_probability(weights, subset) for subset in subsets]
    assert sum(expected) == pytest.approx(draws)
    observed = [int(seen[sum(1 << index for index in subset)]) for subset in subsets]
    chi_square = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    # Wilson-Hilferty: the statistic's quantile of 1 in 10,000 for its degrees of freedom.
    freedom = len(subsets) - 1
    assert chi_square < freedom * (1 - 2 / (9 * freedom) + 3.72 * math.sqrt(2 / (9 * freedom))) ** 3


def test_inclusions_agree_with_sequential_drawing_on_a_map():
    """A peaked map with cells at the floor, 36 cells, 12 kept: both inclusion frequencies, cell by cell."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    peak = torch.exp(-((rows - 2) ** 2 + (columns - 3) ** 2) / 3)
    heatmap = torch.where(peak > 0.1, peak, torch.zeros(()))[None, None]
    weights = token_weights(heatmap, (6, 6))[0, 0]
    assert int((weights == 1e-6).sum()) > 12
    draws = 4000
    slow = slow_inclusions(weights.tolist(), 12, draws, seed=12)
    batch = heatmap.expand(draws, 1, 6, 6)
    fast = heatmap_mask(batch, grid=(6, 6), keep=12, generator=seeded(13)).sum(dim=(0, 1)).double().numpy()
    assert fast.sum() == slow.sum() == 12 * draws
    pooled = (fast + slow) / (2 * draws)
    spread = np.sqrt(np.maximum(2 * draws * pooled * (1 - pooled), 1))
    z = (fast - slow) / spread
    # 36 cells: 4 standard deviations are exceeded by chance about twice in a thousand such tests.
    assert np.abs(z).max() < 4


def test_a_quota_beyond_the_map_is_filled_evenly():
    # Three of nine cells carry the map; five are kept: these three always, two of the six floor cells, each 1/3.
    heatmap = torch.zeros(1, 1, 3, 3)
    heatmap[0, 0, 0] = torch.tensor([1.0, 0.5, 0.8])
    mask = heatmap_mask(heatmap.expand(9000, 1, 3, 3), grid=(3, 3), keep=5, generator=seeded(14))[:, 0]
    # A floor cell comes before the third of the others once in about 10^5 draws.
    assert mask[:, :3].float().mean() > 0.999
    rest = mask[:, 3:].double().mean(dim=0)
    assert ((rest - 1 / 3).abs() < 4 * math.sqrt(2 / 9 / 9000)).all()


def test_rare_cells_keep_their_tiny_probability():
    """A weight of 3e-6 beside one of 1 is kept first in 3e-6 of the draws."""
    weights = torch.tensor([1.0, 3e-6], dtype=torch.float64)
    first = sum(int(draw_tokens(weights.expand(1_000_000, 2), 1, seeded(s))[:, 1].sum()) for s in (1, 2, 3, 4))
    # Poisson with mean 12: outside 1..27 less than once in ten thousand.
    assert 1 <= first <= 27


def test_a_million_negligible_cells_stay_negligible():
    """Together they weigh 1e-6 of the peak. A single-precision uniform is 0 for one in 2^24 cells, which then wins."""
    weights = torch.full((1_000_000,), 1e-12, dtype=torch.float64)
    weights[0] = 1
    generator = seeded(15)
    assert all(bool(draw_tokens(weights, 1, generator)[0]) for _ in range(60))


def test_apart_by_hand():
    # In 0..1 the first is 0, 1/2, 1 and the second 1, 0, 0; their difference -1, 1/2, 1. A flat map counts as 0.
    a, b = torch.tensor([[[[2.0, 3.0, 4.0]]]]), torch.tensor([[[[9.0, -1.0, -1.0]]]])
    assert apart(a, b).tolist() == [[[[-1.0, 0.5, 1.0]]]]
    assert apart(a, torch.full_like(a, 7.0)).tolist() == [[[[0.0, 0.5, 1.0]]]]
    assert apart(b, b).tolist() == [[[[0.0, 0.0, 0.0]]]]


def test_a_mask_of_maps_apart_keeps_one_source_and_frees_the_other():
    a, b = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    a[..., :2, :2], b[..., 2:, 2:] = 1.0, 1.0
    for seed in range(20):
        kept = heatmap_mask(apart(a, b), grid=(4, 4), keep=8, generator=seeded(seed), sharpness=8.0).view(4, 4)
        assert bool(kept[:2, :2].all())
        assert not bool(kept[2:, 2:].any())
