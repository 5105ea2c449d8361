"""What tells that a segmentation network learns nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from asgmcli.train.checkpoint import State
from asgmcli.train.health import FEWEST_STEPS

MASKED = "masked_share"
"""Term of a step: share of the labelled frames' pixels that the network masks."""
_NOTHING = 1e-3
"""Share below which nothing is masked: dropout and batch norms let a dead head mask a pixel now and then."""


@dataclass
class NothingMasked:
    """Warn of a network that has masked hardly a pixel for a quarter of the run, at least `FEWEST_STEPS`, up to now.

    A small head can lose all units of its last ReLU in the first steps; its logits are then 0 for good.

    Args:
        steps: of the whole run.
    """

    steps: int
    row: int = 0

    @property
    def warning(self) -> str | None:
        """See `Watch`."""
        if self.row < max(FEWEST_STEPS, math.ceil(self.steps / 4)):
            return None
        return (
            f"In {self.row} steps in a row less than a thousandth of the labelled frames was masked: the network has "
            "learnt nothing, and may never. Begin anew with a longer train.optimizer.warmup_steps, a lower "
            "train.optimizer.lr or another --seed."
        )

    def see(self, step: int, terms: Mapping[str, float]) -> None:
        """See `Watch`."""
        if MASKED in terms:
            self.row = self.row + 1 if terms[MASKED] < _NOTHING else 0

    def state_dict(self) -> State:
        """See `Watch`."""
        return {"row": self.row}

    def load_state_dict(self, state: State) -> None:
        """See `Watch`."""
        self.row = int(state["row"])
