"""Dilated sums: the strided form equals convolving, then resizing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asgmcli.nn.dilated import DilatedSum
from tests.avs_golden import array


@pytest.mark.parametrize(
    ("shape", "size"),
    [((16, 24), (8, 12)), ((16, 24), (4, 6)), ((56, 56), (7, 7)), ((20, 16), (3, 2)), ((6, 4), (2, 2))],
)
def test_resizing_first_is_the_same(shape: tuple[int, int], size: tuple[int, int]) -> None:
    net = DilatedSum(3, 4)
    for layer in net.conv2d_list:
        torch.nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    x = array(1, 2, 3, *shape)
    slow = F.interpolate(net(x), size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(net.resized(x, size), slow, rtol=1e-5, atol=1e-5)


def test_its_own_size_is_the_plain_sum_and_weights_start_small() -> None:
    net, x = DilatedSum(64, 64), array(2, 1, 64, 5, 5)
    torch.testing.assert_close(net.resized(x, (5, 5)), sum(layer(x) for layer in net.conv2d_list))
    stds = [float(layer.weight.detach().std()) for layer in net.conv2d_list]  # type: ignore[operator, union-attr]
    assert stds == pytest.approx([0.01] * 4, rel=0.02)
