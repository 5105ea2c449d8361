import math

import numpy as np
import pytest
import torch

from asgmcli.masks.heatmap import heatmap_mask, token_weights
from asgmcli.masks.mix import draw_lambda, mass_weight, mix_audio, mix_pixels, mix_tokens, partners
from asgmcli.masks.tube import kept_tokens, tube_mask
from asgmcli.nn.patches import PatchEmbed


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def clips(seed, shape):
    generator = seeded(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_tokens_are_taken_whole():
    a, b = clips(1, (2, 3, 4, 5))
    mask = torch.rand(2, 3, 4, generator=seeded(2)) < 0.5
    mixed = mix_tokens(a, b, mask)
    for i in range(2):
        for t in range(3):
            for n in range(4):
                assert torch.equal(mixed[i, t, n], (a if mask[i, t, n] else b)[i, t, n])
    assert torch.equal(mix_tokens(a, b, mask.float()), mixed)
    assert torch.equal(mix_tokens(a, b, torch.ones(2, 3, 4)), a)
    assert torch.equal(mix_tokens(a, b, torch.zeros(2, 3, 4)), b)
    assert torch.equal(mix_tokens(b, a, ~mask), mixed)


def test_pixels_by_hand():
    # Two patches of 1 x 2 pixels, one below the other, of two times that hold for two frames each.
    a, b = torch.ones(1, 1, 4, 2, 2), torch.zeros(1, 1, 4, 2, 2)
    mixed = mix_pixels(a, b, torch.tensor([[[True, False], [False, True]]]), (2, 1))
    assert mixed[0, 0].tolist() == [[[1, 1], [0, 0]]] * 2 + [[[0, 0], [1, 1]]] * 2


@pytest.mark.parametrize("tubelet", [1, 2])
@pytest.mark.parametrize("hidden", [None, 12])
def test_patches_of_mixed_pixels_are_mixed_tokens(tubelet, hidden):
    torch.manual_seed(0)
    embed = PatchEmbed(6, 4, 3, hidden, tubelet)
    a, b = clips(1, (2, 3, 4, 8, 12))
    mask = torch.rand(2, 4 // tubelet, 6, generator=seeded(2)) < 0.5
    mixed = embed(mix_pixels(a, b, mask, (2, 3))).transpose(0, 1)
    tokens = mix_tokens(embed(a).transpose(0, 1), embed(b).transpose(0, 1), mask)
    torch.testing.assert_close(mixed, tokens)


def test_audio_by_hand_and_at_the_ends():
    a, b = torch.full((2, 3, 4), 8.0), torch.full((2, 3, 4), -4.0)
    assert torch.equal(mix_audio(a, b, 0.25), torch.full((2, 3, 4), -1.0))
    each = mix_audio(a, b, torch.tensor([0.5, 0.75]))
    assert each[:, 0, 0].tolist() == [2, 5]
    first, second = clips(3, (2, 3, 4))
    assert torch.equal(mix_audio(first, second, 1.0), first)
    assert torch.equal(mix_audio(first, second, 0.0), second)


def test_lambda_follows_its_beta():
    generator = seeded(4)
    draws = np.array([draw_lambda(5, 10, generator) for _ in range(4000)])
    mean, variance = 5 / 15, 5 * 10 / (15**2 * 16)
    assert 0 < draws.min() < draws.max() < 1
    assert abs(draws.mean() - mean) < 4 * math.sqrt(variance / 4000)
    assert draws.var() == pytest.approx(variance, rel=0.1)
    # The distribution function of Beta(5, 10) at .25, summed as a binomial tail: 14 draws, at least 5.
    below = sum(math.comb(14, k) * 0.25**k * 0.75 ** (14 - k) for k in range(5, 15))
    assert abs((draws < 0.25).mean() - below) < 4 * math.sqrt(below * (1 - below) / 4000)


def test_lambda_is_seeded_and_refuses_impossible_parameters():
    state = torch.get_rng_state()
    assert draw_lambda(10, 10, seeded(5)) == draw_lambda(10, 10, seeded(5)) != draw_lambda(10, 10, seeded(6))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="positive"):
        draw_lambda(0, 10, seeded(5))


def test_partners_are_a_permutation():
    order = partners(20, seeded(7))
    assert sorted(order.tolist()) == list(range(20))
    assert torch.equal(order, partners(20, seeded(7)))
    assert not torch.equal(order, partners(20, seeded(8)))


def test_mass_by_hand():
    # A: two thirds of its weight under the one kept token; B: three quarters under the rest.
    a = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]) + 1e-12
    b = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]])
    mask = torch.tensor([[[True, False, False], [False, False, False]]])
    assert mass_weight(a, b, mask).tolist() == pytest.approx([(2 / 3) / (2 / 3 + 3 / 4)])
    assert mass_weight(a, b, mask.float()).tolist() == mass_weight(a, b, mask).tolist()


def test_mass_against_loops():
    generator = seeded(9)
    a, b = (torch.rand(3, 2, 5, generator=generator) for _ in range(2))
    mask = torch.rand(3, 2, 5, generator=generator) < 0.4
    for i, weight in enumerate(mass_weight(a, b, mask).tolist()):
        pairs = [(float(a[i, t, n]), float(b[i, t, n]), bool(mask[i, t, n])) for t in range(2) for n in range(5)]
        share_a = sum(x for x, _, kept in pairs if kept) / sum(x for x, _, _ in pairs)
        share_b = sum(y for _, y, kept in pairs if not kept) / sum(y for _, y, _ in pairs)
        assert weight == pytest.approx(share_a / (share_a + share_b), rel=1e-5)


def test_mass_at_the_ends():
    a, b = (torch.rand(2, 3, 4, generator=seeded(s)) + 0.1 for s in (1, 2))
    assert mass_weight(a, b, torch.ones(2, 3, 4)).tolist() == [1, 1]
    assert mass_weight(a, b, torch.zeros(2, 3, 4)).tolist() == [0, 0]
    mask = tube_mask(2, 3, 4, 1, seeded(3))
    torch.testing.assert_close(mass_weight(a, b, mask), 1 - mass_weight(b, a, ~mask))


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 1.0])
def test_flat_maps_give_the_fraction_truly_kept(keep):
    """The paper's λ = n/N is what both target kinds say when the maps say nothing."""
    flat = torch.full((4, 2, 6, 6), 0.4)
    weights = token_weights(flat, (6, 6))
    mask = heatmap_mask(flat, grid=(6, 6), keep=keep, generator=seeded(10))
    fraction = kept_tokens(36, keep) / 36
    assert mask.float().mean(dim=(1, 2)).tolist() == pytest.approx([fraction] * 4)
    assert mass_weight(weights, weights, mask).tolist() == pytest.approx([fraction] * 4, rel=1e-5)


def test_a_sharp_map_keeps_nearly_all_of_its_source():
    heatmap = torch.zeros(1, 2, 6, 6)
    heatmap[:, :, 1:3, 1:3] = 1
    weights = token_weights(heatmap, (6, 6))
    mask = heatmap_mask(heatmap, grid=(6, 6), keep=12, generator=seeded(11))
    # A third of the tokens, all of A's source; B's source elsewhere stays whole, so each has half of the target.
    elsewhere = weights.roll(21, dims=2)
    visible = float((elsewhere * ~mask).sum() / elsewhere.sum())
    assert mass_weight(weights, elsewhere, mask).item() == pytest.approx(1 / (1 + visible), abs=1e-4)
