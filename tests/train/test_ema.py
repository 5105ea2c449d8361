"""The teacher's average, by hand."""

from __future__ import annotations

import torch
from torch import nn

from asgmcli.train.ema import make_teacher, update_teacher


class Network(nn.Module):
    count: torch.Tensor
    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mean", torch.tensor([1.0]))
        self.register_buffer("count", torch.tensor(3))


def test_the_teacher_averages_parameters_and_buffers_and_copies_counts() -> None:
    student = Network().train()
    teacher = make_teacher(student)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    start = student.linear.weight.detach().clone()
    for step in range(1, 4):
        with torch.no_grad():
            student.linear.weight += 1
            student.mean += 1
            student.count += 1
        update_teacher(teacher, student, 0.75)
        # By hand: the student is start + 1, + 2, + 3; the average lags behind it.
        lag = sum(0.25 * 0.75 ** (step - k) * k for k in range(1, step + 1))
        torch.testing.assert_close(teacher.linear.weight, start + lag)
        torch.testing.assert_close(teacher.mean, torch.tensor([1 + lag]))
        assert teacher.count == 3 + step
    torch.testing.assert_close(student.linear.weight, start + 3)
