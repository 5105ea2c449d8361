from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.train.lars import LARS
from tests.golden import ave_inputs as inputs

GOLDEN = Path(__file__).parents[1] / "golden" / "ave_lars.npz"


def test_the_steps_of_barlow_twins() -> None:
    golden = np.load(GOLDEN)
    start, gradients = inputs.lars_case(541)
    parameters = [torch.nn.Parameter(torch.from_numpy(value.copy())) for value in start]
    optimizer = LARS([{"params": parameters[:2]}, {"params": parameters[2:]}], 0.0)
    for step, given in enumerate(gradients):
        for parameter, gradient in zip(parameters, given, strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        for group, rate in zip(optimizer.param_groups, (0.2, 0.0048), strict=True):
            group["lr"] = rate * (step + 1) / 6 * 50
        optimizer.step()
        for number, parameter in enumerate(parameters):
            np.testing.assert_allclose(parameter.detach().numpy(), golden[f"p{number}"][step], atol=1e-6, rtol=1e-6)


def test_a_step_by_hand() -> None:
    matrix = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    vector = torch.nn.Parameter(torch.tensor([1.0]))
    untouched = torch.nn.Parameter(torch.tensor([[7.0]]))
    matrix.grad, vector.grad = torch.tensor([[0.0, 10.0]]), torch.tensor([2.0])
    optimizer = LARS([matrix, vector, untouched], 0.5, weight_decay=0.0, trust=0.1)
    optimizer.step()
    # The matrix's update is 0.1 * 5 / 10 of its gradient, the vector's the gradient itself.
    assert matrix.tolist() == [[3.0, pytest.approx(4 - 0.5 * 0.5)]]
    assert vector.tolist() == [0.0]
    assert untouched.tolist() == [[7.0]]
    assert optimizer.step(lambda: 3.0) == 3.0


def test_momentum_survives_being_saved() -> None:
    def stepped(saved: bool) -> torch.Tensor:
        parameter = torch.nn.Parameter(torch.tensor([[1.0, 2.0]]))
        optimizer = LARS([parameter], 0.1)
        for step in range(3):
            parameter.grad = torch.tensor([[1.0, float(step)]])
            optimizer.step()
            if saved:
                state = optimizer.state_dict()
                optimizer = LARS([parameter], 0.1)
                optimizer.load_state_dict(state)
        return parameter.detach()

    assert torch.equal(stepped(False), stepped(True))
