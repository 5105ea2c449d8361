"""Attention with global context: the released module, and its gates by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide a width of 8"):
        GlobalContextAttention(8, heads=3)
