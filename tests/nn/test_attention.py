from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.nn import attention as module
from asgmcli.nn.attention import Attention, Mlp, attend

HEADS, DIM = 3, 12
LENGTHS = pytest.mark.parametrize("length", [2, 4, 20])


def made_up(rows: int, length: int, time_first: bool) -> Tensor:
    """[R, S, 3D]; with `time_first` a view of [S, R, 3D], as the attention over time reads its tokens."""
    torch.manual_seed(0)
    return torch.randn(length, rows, 3 * DIM).transpose(0, 1) if time_first else torch.randn(rows, length, 3 * DIM)


def by_hand(qkv: Tensor) -> Tensor:
    """Equation 1, one row, head and query after the other."""
    rows, length, _ = qkv.shape
    size = DIM // HEADS
    result = qkv.new_empty(rows, length, DIM)
    for r in range(rows):
        for h in range(HEADS):
            q, k, v = (qkv[r, :, part * DIM + h * size :][:, :size] for part in range(3))
            for query in range(length):
                weights = [math.exp(float(q[query] @ k[key]) / math.sqrt(size)) for key in range(length)]
                mean = sum(w * v[key] for key, w in enumerate(weights)) / sum(weights)
                result[r, query, h * size : (h + 1) * size] = mean
    return result


def plainly(qkv: Tensor) -> Tensor:
    """The same in products that autograd can follow."""
    q, k, v = qkv.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / math.sqrt(DIM // HEADS)).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


@LENGTHS
@pytest.mark.parametrize("time_first", [False, True])
def test_it_is_the_equation(length: int, time_first: bool) -> None:
    qkv = made_up(3, length, time_first)
    expected = by_hand(qkv.double()).float()
    torch.testing.assert_close(attend(qkv, HEADS), expected)
    torch.testing.assert_close(attend(qkv.requires_grad_(), HEADS), expected)


@LENGTHS
@pytest.mark.parametrize("time_first", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
def test_gradients_are_those_of_plain_products(length: int, time_first: bool, bf16: bool) -> None:
    qkv = made_up(5, length, time_first).requires_grad_()
    wanted = torch.randn(5, length, DIM)
    (expected,) = torch.autograd.grad(plainly(qkv), qkv, wanted)
    ours = qkv.to(torch.bfloat16) if bf16 else qkv
    (found,) = torch.autograd.grad(attend(ours, HEADS), qkv, wanted.to(ours.dtype))
    torch.testing.assert_close(found, expected, **({"rtol": 0, "atol": 0.05} if bf16 else {}))


@LENGTHS
def test_scores_of_any_size_overflow_nothing(length: int) -> None:
    found = attend(1000 * made_up(2, length, time_first=False), HEADS)
    assert found.isfinite().all()


def test_more_rows_than_a_grid_has(monkeypatch: pytest.MonkeyPatch) -> None:
    qkv = made_up(7, 20, time_first=True).requires_grad_()
    expected = attend(qkv, HEADS)
    (gradient,) = torch.autograd.grad(expected.square().sum(), qkv)
    launched: list[int] = []

    def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        launched.append(q.shape[0])
        return F.scaled_dot_product_attention(q, k, v)

    monkeypatch.setattr(module, "MOST_ROWS", 3)
    monkeypatch.setattr(module, "F", SimpleNamespace(scaled_dot_product_attention=fused))
    found = attend(qkv, HEADS)
    assert launched == [3, 3, 1]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), qkv)[0], gradient)


@LENGTHS
def test_autocast_casts_what_it_is_given(length: int) -> None:
    qkv = made_up(3, length, time_first=True).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(qkv, HEADS)
    assert found.dtype == torch.bfloat16
    assert torch.autograd.grad(found.float().sum(), qkv)[0].isfinite().all()


@torch.no_grad()
def test_the_first_token_alone_is_the_first_of_all() -> None:
    torch.manual_seed(0)
    attention, x = Attention(DIM, HEADS), torch.randn(5, 7, DIM)
    torch.testing.assert_close(attention.first(x), attention(x)[:, 0])


@torch.no_grad()
def test_the_feed_forward_network_by_hand() -> None:
    mlp = Mlp(1, ratio=2)
    for parameter, value in zip(mlp.parameters(), ([[1.0], [-1.0]], [0.0, 1.0], [[2.0, 3.0]], [0.5]), strict=True):
        parameter.copy_(torch.tensor(value))
    # hidden 1 and 0; GELU(1) = 0.5 (1 + erf(1 / sqrt 2)), GELU(0) = 0
    assert float(mlp(torch.tensor([1.0]))) == pytest.approx(2 * 0.5 * (1 + math.erf(2**-0.5)) + 0.5)
