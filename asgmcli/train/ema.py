"""The teacher: an exponential moving average of the student (Tarvainen and Valpola, 2017)."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def make_teacher(student: Network) -> Network:
    """A copy of `student` in evaluation mode that takes no gradient."""
    return copy.deepcopy(student).requires_grad_(False).eval()


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """teacher <- decay * teacher + (1 - decay) * student, in place, for parameters and floating-point buffers alike.

    Buffers that count (integers) are copied.
    """
    ours = [*teacher.parameters(), *teacher.buffers()]
    theirs = [*student.parameters(), *student.buffers()]
    averaged = [(t, s.detach()) for t, s in zip(ours, theirs, strict=True) if t.is_floating_point()]
    torch._foreach_lerp_([t for t, _ in averaged], [s for _, s in averaged], 1 - decay)
    for t, s in zip(ours, theirs, strict=True):
        if not t.is_floating_point():
            t.copy_(s)
