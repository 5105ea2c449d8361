"""Deformable attention against the released one, and against loops over queries, levels and points."""

from __future__ import annotations

import math

import pytest
import torch

from asgmcli.nn.deformable import DeformableAttention
from tests.avs_golden import TOLERANCE, array, golden, spread, weights

SHAPES = [(6, 5), (3, 4), (2, 2)]


def released() -> tuple[DeformableAttention, torch.Tensor, torch.Tensor, torch.Tensor]:
    net = DeformableAttention(32, 3, 4, 4)
    net.load_state_dict(weights("deformable", 41))
    return net, array(42, 2, 7, 32), (2 * array(44, 2, 7, 3, 2)).sigmoid(), array(43, 2, 46, 32)


def test_it_equals_the_released_one_with_its_gradients() -> None:
    wanted = golden("deformable")
    net, query, points, value = released()
    query.requires_grad_()
    value.requires_grad_()
    output = net(query, points, value, SHAPES)
    (output * array(45, *output.shape)).sum().backward()
    assert query.grad is not None
    assert value.grad is not None
    assert net.sampling_offsets.weight.grad is not None
    assert spread(output, wanted["output"]) < TOLERANCE
    assert spread(query.grad, wanted["grad_query"]) < TOLERANCE
    assert spread(value.grad, wanted["grad_value"]) < TOLERANCE
    assert spread(net.sampling_offsets.weight.grad, wanted["grad_offsets"]) < TOLERANCE


def slow(net: DeformableAttention, query: torch.Tensor, points: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """One query of one sample, cell by cell."""
    offsets = net.sampling_offsets(query).view(4, 3, 4, 2)
    weights_ = net.attention_weights(query).view(4, 12).softmax(-1).view(4, 3, 4)
    cells = net.value_proj(value).split([h * w for h, w in SHAPES])
    result = torch.zeros(4, 8)
    for head in range(4):
        for level, (height, width) in enumerate(SHAPES):
            grid = cells[level].view(height, width, 4, 8)[:, :, head]
            for point in range(4):
                x = float(points[level, 0]) * width + float(offsets[head, level, point, 0]) - 0.5
                y = float(points[level, 1]) * height + float(offsets[head, level, point, 1]) - 0.5
                for column in (math.floor(x), math.floor(x) + 1):
                    for row in (math.floor(y), math.floor(y) + 1):
                        if 0 <= column < width and 0 <= row < height:
                            share = (1 - abs(x - column)) * (1 - abs(y - row))
                            result[head] += weights_[head, level, point] * share * grid[row, column]
    read: torch.Tensor = net.output_proj(result.flatten())
    return read


def test_it_equals_loops() -> None:
    net, query, points, value = released()
    with torch.no_grad():
        output = net(query, points, value, SHAPES)
        for place in ((0, 0), (1, 6)):
            wanted = slow(net, query[place], points[place], value[place[0]])
            torch.testing.assert_close(output[place], wanted, rtol=1e-4, atol=1e-4)


def test_it_starts_looking_out_in_one_direction_a_head() -> None:
    net = DeformableAttention(16, 2, 4, 3)
    places = net.sampling_offsets.bias.detach().view(4, 2, 3, 2)
    assert places[:, 0].tolist() == places[:, 1].tolist()
    wanted = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    torch.testing.assert_close(places[:, 0, 0], wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(places[:, 0, 2], 3 * wanted, atol=1e-6, rtol=0)
    assert not net.sampling_offsets.weight.any()
    with pytest.raises(ValueError, match="do not divide"):
        DeformableAttention(10, 1, 4, 1)
