"""Attention with global context: the released module, and its gates by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from asgmcli.nn.global_context import GlobalContextAttention
from tests.golden import llp_inputs


def test_it_is_the_released_module() -> None:
    module = GlobalContextAttention(48, heads=4).eval()
    shapes = {name: list(value.shape) for name, value in module.state_dict().items()}
    assert len(shapes) == 20
    made = llp_inputs.weights(shapes, 31)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in made.items()})
    random = np.random.RandomState(32)
    query, key = (torch.from_numpy(random.standard_normal((3, n, 48)).astype(np.float32)) for n in (10, 7))
    with np.load(llp_inputs.HERE / "llp_parser.npz") as known:
        expected = torch.from_numpy(known["module/output"])
    assert torch.allclose(module(query, key), expected, atol=2e-4 * float(expected.abs().max()))


def test_open_gates_make_every_second_alike_and_shut_ones_plain_attention() -> None:
    torch.manual_seed(0)
    module = GlobalContextAttention(8).eval()
    x, o = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    for bias in (module.Vqx_linear.bias, module.Vkx_linear.bias):
        torch.nn.init.constant_(bias, 50.0)
    found = module(x, o)
    assert torch.allclose(found, module.out(module.vx_linear(o).mean(1, keepdim=True)).expand_as(found), atol=1e-5)
    for bias in (module.Vqx_linear.bias, module.Vkx_linear.bias):
        torch.nn.init.constant_(bias, -50.0)
    q, k, v = module.qx_linear(x), module.kx_linear(o), module.vx_linear(o)
    plain = module.out(torch.softmax(q @ k.transpose(1, 2) / 8**0.5, dim=-1) @ v)
    assert torch.allclose(module(x, o), plain, atol=1e-5)


def gated(values: Tensor, context: Tensor, of_value: torch.nn.Module, of_context: torch.nn.Module) -> Tensor:
    share = torch.sigmoid(of_value(values) + of_context(context))
    return (1 - share) * values + share * context


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_it_is_its_equations(heads: int, training: bool) -> None:
    torch.manual_seed(0)
    part = GlobalContextAttention(8, heads, dropout=0.0).train(training)
    query, key = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    found = part(query, key)
    assert found.shape == (3, 5, 8)
    for clip in range(3):
        x, o = query[clip], key[clip]
        q = gated(part.qx_linear(x), part.qc_linear(x.mean(0)), part.Vqx_linear, part.Vqc_linear)
        k = gated(part.kx_linear(o), part.kc_linear(o.mean(0)), part.Vkx_linear, part.Vkc_linear)
        v = part.vx_linear(o)
        width = 8 // heads
        parts = []
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            weights = torch.softmax(q[:, own] @ k[:, own].T / width**0.5, dim=1)
            parts.append(weights @ v[:, own])
        assert torch.allclose(found[clip], part.out(torch.cat(parts, 1)), atol=1e-6)


def test_dropout_takes_weights_in_training_alone() -> None:
    torch.manual_seed(0)
    part = GlobalContextAttention(8, dropout=0.5)
    query = torch.randn(2, 6, 8)
    assert not torch.equal(part(query, query), part(query, query))
    part.eval()
    assert torch.equal(part(query, query), part(query, query))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide a width of 8"):
        GlobalContextAttention(8, heads=3)
