"""How many threads a training step takes on a CPU."""

from __future__ import annotations

import os

import torch

ASKED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def leave_one_for_loading(device: torch.device) -> None:
    """Let the step have all cores but one, which the thread or the processes that make the batches keep busy.

    On two cores a step with both takes as long as with one, for each then waits for the other and for the loading. What
    the environment asks for is left as it is.
    """
    if device.type == "cpu" and not any(os.environ.get(name) for name in ASKED):
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
