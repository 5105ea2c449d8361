from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asgmcli.nn.lean import gelu_linear, norm_linear


def parts() -> tuple[Tensor, nn.LayerNorm, nn.Linear]:
    torch.manual_seed(0)
    norm, linear = nn.LayerNorm(12, eps=1e-6), nn.Linear(12, 7)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return torch.randn(3, 5, 12, requires_grad=True), norm, linear


def gradients(result: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 1, result.numel()).view(result.shape)
    return torch.autograd.grad((result.float() * weights).sum(), inputs)


@pytest.mark.parametrize("bf16", [False, True])
def test_both_pairs_are_the_plain_layers_forward_and_backward(bf16: bool) -> None:
    x, norm, linear = parts()
    inputs = (x, norm.weight, norm.bias, linear.weight, linear.bias)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        ours, plain = norm_linear(x, norm, linear.weight, linear.bias), linear(norm(x))
        active, plainly = gelu_linear(x, linear.weight, linear.bias), linear(F.gelu(x))
    assert ours.dtype == plain.dtype == active.dtype == (torch.bfloat16 if bf16 else torch.float32)
    assert torch.equal(ours, plain)
    assert torch.equal(active, plainly)
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if bf16 else {"rtol": 1e-5, "atol": 1e-6}
    for a, b in zip(gradients(ours, *inputs), gradients(plain, *inputs), strict=True):
        torch.testing.assert_close(a, b, **tolerance)
    layer = (x, linear.weight, linear.bias)
    for a, b in zip(gradients(active, *layer), gradients(plainly, *layer), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def test_gradients_are_those_of_finite_differences() -> None:
    x, norm, linear = (part.double() for part in parts())
    x = x[:1, :2].detach().requires_grad_()
    arguments = (linear.weight, linear.bias)
    assert torch.autograd.gradcheck(lambda y: norm_linear(y, norm, *arguments), x)
    assert torch.autograd.gradcheck(lambda y: gelu_linear(y, *arguments), x)


def test_what_is_cheap_to_compute_again_is_not_stored() -> None:
    x, norm, linear = parts()
    stored: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        if tensor.numel() == x.numel() and tensor.data_ptr() != x.data_ptr():
            stored.append(tensor.data_ptr())
        return tensor

    for ours, expected in ((False, 2), (True, 0)):
        stored.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            if ours:
                kept = [norm_linear(x, norm, linear.weight, linear.bias), gelu_linear(x, linear.weight, linear.bias)]
            else:
                kept = [linear(norm(x)), linear(F.gelu(x))]
        assert len(stored) == expected, kept


def test_a_frozen_weight_and_input_get_no_gradient() -> None:
    x, norm, linear = parts()
    linear.weight.requires_grad_(False)
    norm_linear(x.detach(), norm, linear.weight, linear.bias).sum().backward()
    assert linear.weight.grad is None
    assert norm.weight.grad is not None
    torch.testing.assert_close(linear.bias.grad, torch.full((7,), 15.0))
