"""Learning rates and optimizers, by hand."""

from __future__ import annotations

import math

import pytest
from torch import nn

from asgmcli.recipe.training import Optimizer
from asgmcli.train.schedule import learning_rate, make_optimizer, set_rates


def test_steps_fall_at_their_milestones() -> None:
    settings = Optimizer(lr=1.0, milestones=[0.5, 0.9], gamma=0.1)
    rates = [learning_rate(settings, step, 10) for step in range(10)]
    assert rates == pytest.approx([1] * 5 + [0.1] * 4 + [0.01])


def test_cosine_rises_and_falls_to_nearly_zero() -> None:
    settings = Optimizer(lr=2.0, schedule="cosine", warmup_steps=4)
    rates = [learning_rate(settings, step, 14) for step in range(14)]
    assert rates[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert rates[9] == pytest.approx(1.0)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(1 + math.cos(math.pi * 0.9))
    assert learning_rate(Optimizer(lr=2.0, schedule="constant"), 13, 14) == 2.0


def test_weight_decay_is_on_all_under_sgd_and_on_matrices_under_adamw() -> None:
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    sgd = make_optimizer([network], Optimizer(weight_decay=0.3))
    assert [(len(group["params"]), group["weight_decay"], group["nesterov"]) for group in sgd.param_groups] == [
        (1, 0.3, True)
    ]
    network.bias.requires_grad_(True)
    adamw = make_optimizer([network], Optimizer(kind="adamw", weight_decay=0.3, momentum=0.8))
    matrices, others = adamw.param_groups
    assert matrices["params"] == [network.weight]
    assert others["params"] == [network.bias]
    assert (matrices["weight_decay"], others["weight_decay"], matrices["betas"]) == (0.3, 0.0, (0.8, 0.999))
    assert not make_optimizer([network], Optimizer(momentum=0.0)).param_groups[0]["nesterov"]


def test_a_cosine_may_end_above_zero() -> None:
    settings = Optimizer(lr=2.0, schedule="cosine", final=0.1)
    assert learning_rate(settings, 0, 10) == pytest.approx(2.0)
    assert learning_rate(settings, 5, 10) == pytest.approx(1.1)
    assert learning_rate(settings, 10, 10) == pytest.approx(0.2)


def test_a_fall_every_so_many_epochs() -> None:
    settings = Optimizer(lr=1.0, schedule="epochs", gamma=0.98, decay_epochs=10)
    rates = [learning_rate(settings, 0, 1, epoch) for epoch in (0, 9, 10, 25, 299)]
    assert rates == pytest.approx([1, 1, 0.98, 0.98**2, 0.98**29])


def test_lars_has_a_rate_for_matrices_and_one_for_vectors() -> None:
    network = nn.Linear(2, 2)
    optimizer = make_optimizer([network], Optimizer(kind="lars", lr=0.2, bias_lr=0.0048, trust=0.5, weight_decay=0.3))
    set_rates(optimizer, learning_rate(Optimizer(kind="lars", lr=0.2, schedule="cosine"), 5, 10))
    matrices, vectors = optimizer.param_groups
    assert (matrices["params"], vectors["params"]) == ([network.weight], [network.bias])
    assert (matrices["lr"], vectors["lr"]) == pytest.approx((0.1, 0.0024))
    assert (matrices["weight_decay"], vectors["weight_decay"], matrices["trust"]) == (0.3, 0.0, 0.5)
    plain = make_optimizer([network], Optimizer(kind="lars", lr=0.2))
    set_rates(plain, 0.2)
    assert [group["lr"] for group in plain.param_groups] == [0.2, 0.2]
