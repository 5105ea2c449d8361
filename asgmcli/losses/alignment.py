"""Distribution alignment: a teacher's answers have the class shares of the labelled clips.

D. Berthelot et al., "ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring", ICLR
2020, Sec. 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 0.01
"""Share of the running mean that a batch has, once there were a hundred; ReMixMatch takes the last 128."""
_LEAST = 1e-6  # of a class's running mean, so that one never answered can be divided by


class DistributionAlignment:
    """Probabilities times the labelled clips' class shares over the running mean of the teacher's answers.

    Args:
        shares: [K] of the classes among the labelled clips, sum 1.
    """

    def __init__(self, shares: Tensor) -> None:
        self.shares = shares.float()
        self._mean = torch.zeros_like(self.shares)
        self._batches = torch.zeros((), dtype=torch.int64)

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Return aligned probabilities [B, K] of probabilities [B, K], whose mean is taken up first.

        The running mean is that of all batches so far, of about the last hundred once there are as many.
        """
        device = probabilities.device
        self.shares, self._mean, self._batches = (part.to(device) for part in (self.shares, self._mean, self._batches))
        found = probabilities.detach().float()
        self._batches = self._batches + 1
        rate = (1 / self._batches).clamp_min(RATE)
        self._mean = (1 - rate) * self._mean + rate * found.mean(dim=0)
        aligned = found * (self.shares / self._mean.clamp_min(_LEAST))
        return aligned / aligned.sum(dim=1, keepdim=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the running mean [K] and the number of batches."""
        return {"mean": self._mean.clone(), "batches": self._batches.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up what `state_dict` gave.

        Raises:
            ValueError: the state is of another number of classes.
        """
        if state["mean"].shape != self._mean.shape:
            raise ValueError(f"the state is of {state['mean'].numel()} classes, this run has {self._mean.numel()}")
        self._mean, self._batches = state["mean"].to(self._mean.device), state["batches"].to(self._mean.device)
