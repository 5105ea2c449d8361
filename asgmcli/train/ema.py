"""The teacher: an exponential moving average of the student (Tarvainen and Valpola, 2017)."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def make_teacher(student: Network) -> Network:
    """Return a copy of `student` in evaluation mode, without gradients."""
    return copy.deepcopy(student).requires_grad_(False).eval()


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Set teacher <- decay * teacher + (1 - decay) * student, in place, parameters and floating-point buffers alike.

    Integer buffers (counters) are copied.
    """
    ours = [*teacher.parameters(), *teacher.buffers()]
    theirs = [*student.parameters(), *student.buffers()]
    averaged = [(t, s.detach()) for t, s in zip(ours, theirs, strict=True) if t.is_floating_point()]
    torch._foreach_lerp_([t for t, _ in averaged], [s for _, s in averaged], 1 - decay)
    for t, s in zip(ours, theirs, strict=True):
        if not t.is_floating_point():
            t.copy_(s)
