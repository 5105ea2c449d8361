"""L_AVBT beside Algorithm 1 as printed, and steps of PSP and TACMA beside PSP as released, in one process, in turn.

python -m tests.bench.events_as_released [ROUNDS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.losses.barlow import barlow_loss
from asgmcli.losses.pair_similarity import pair_similarity_loss, pair_target
from asgmcli.nn.psp import PSPNet
from asgmcli.nn.tacma import TACMA
from tests.golden import ave_inputs as inputs
from tests.losses.test_barlow import as_printed
from tests.nn.test_psp import PlainPSP


def least_seconds(works: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, float]:
    """Return the least processor time of each, forward and backward, taken in turn."""
    found = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            work().backward()
            found[name] = min(found[name], time.process_time() - start)
    return found


def compare_losses(rounds: int) -> None:
    """Compare at 32 videos, 1,024 wide."""
    parts = [torch.from_numpy(part).requires_grad_() for part in inputs.embeddings(7, 32, 10, 1024)]
    found = least_seconds({"ours": lambda: barlow_loss(*parts)["loss"], "printed": lambda: as_printed(*parts)}, rounds)
    print(f"L_AVBT: {found['ours'] / found['printed']:.2f} of Algorithm 1's time")


def compare_steps(rounds: int) -> None:
    """Compare at 32 videos, the released widths."""
    audio, visual, features = torch.rand(32, 10, 128), torch.rand(32, 10, 7, 7, 512), torch.rand(2, 32, 10, 256)
    labels = torch.randint(29, (32, 10))
    target = pair_target(labels, 28)
    ours, plain, tacma = PSPNet(dropout=0.0), PlainPSP(dropout=0.0), TACMA()

    def loss(net: PSPNet) -> Tensor:
        logits, similarity = net(audio, visual)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten()) + pair_similarity_loss(similarity, target)

    works: dict[str, Callable[[], Tensor]] = {
        "PSP": lambda: loss(ours),
        "plain": lambda: loss(plain),
        "TACMA": lambda: F.cross_entropy(tacma(*features).flatten(0, 1), labels.flatten()),
    }
    found = least_seconds(works, rounds)
    print(f"PSP: {found['PSP'] / found['plain']:.2f} of the released form's step")
    print(f"TACMA: {found['TACMA'] / found['PSP']:.3f} of PSP's step")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    compare_losses(times)
    compare_steps(times)
