"""Dilated sums: the strided form equals convolving, then resizing, the folded one the plain sum."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asgmcli.nn.dilated import DilatedSum
from tests.avs_golden import array


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((16, 24), (8, 12)),
        ((16, 24), (4, 6)),
        ((56, 56), (7, 7)),
        ((20, 16), (3, 2)),
        ((6, 4), (2, 2)),
        ((16, 16), (2, 2)),
    ],
)
def test_resizing_first_is_the_same(shape: tuple[int, int], size: tuple[int, int]) -> None:
    net = DilatedSum(3, 4)
    for layer in net.conv2d_list:
        torch.nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    x = array(1, 2, 3, *shape)
    slow = F.interpolate(sum(layer(x) for layer in net.conv2d_list), size, mode="bilinear")  # type: ignore[arg-type]
    torch.testing.assert_close(net.resized(x, size), slow, rtol=1e-5, atol=1e-5)


def test_its_own_size_is_the_plain_sum_and_weights_start_small() -> None:
    net, x = DilatedSum(64, 64), array(2, 1, 64, 5, 5)
    torch.testing.assert_close(net.resized(x, (5, 5)), sum(layer(x) for layer in net.conv2d_list))
    stds = [float(layer.weight.detach().std()) for layer in net.conv2d_list]  # type: ignore[operator, union-attr]
    assert stds == pytest.approx([0.01] * 4, rel=0.02)


@pytest.mark.parametrize("side", [2, 4, 7, 16, 20])
def test_weights_that_meet_padding_alone_are_left_out_and_nothing_changes(side: int) -> None:
    net, x = DilatedSum(3, 4), array(4, 1, 3, side, side - 1)
    weights = [layer.weight for layer in net.conv2d_list]
    slow = sum(layer(x) for layer in net.conv2d_list)
    torch.testing.assert_close(net(x), slow)
    wanted = torch.autograd.grad(slow.square().sum(), weights)  # type: ignore[arg-type, union-attr]
    found = torch.autograd.grad(net(x).square().sum(), weights)  # type: ignore[arg-type]
    torch.testing.assert_close(found, wanted)
