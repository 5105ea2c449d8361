"""FixMatch: consistency between a strong view and the confident labels of a weak one (thesis, Eq. 2-3 and 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class FixedThreshold:
    """One confidence threshold for every class (Eq. 3).

    Args:
        threshold: τ in (0, 1].

    Raises:
        ValueError: τ outside (0, 1].
    """

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
        self.threshold = threshold

    def select(self, ids: Tensor, probabilities: Tensor) -> Tensor:  # noqa: ARG002 - as FlexibleThreshold's
        """Mark the clips whose teacher is confident enough.

        Args:
            ids: [B] int64 clip numbers; unused, so that both kinds of threshold are called alike.
            probabilities: [B, K] the teacher's on the weak view.

        Returns:
            [B] float32 of 0 and 1.
        """
        return (probabilities.detach().float().amax(dim=1) >= self.threshold).float()

    def state_dict(self) -> dict[str, Tensor]:
        """Return an empty state: a fixed threshold learns nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Accept the empty state that `state_dict` gives.

        Raises:
            ValueError: the state is another threshold's.
        """
        if state:
            raise ValueError(f"a fixed threshold has no state, got {sorted(state)}")


class NoThreshold(FixedThreshold):
    """Every clip passes, however unsure its teacher."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def select(self, ids: Tensor, probabilities: Tensor) -> Tensor:  # noqa: ARG002 - as FixedThreshold's
        """Mark every clip: [B] float32 of 1."""
        return torch.ones(len(probabilities), device=probabilities.device)


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """Return [B, K]: probabilities [B, K] to the power 1 / temperature, each row's sum 1 again (MixMatch, Eq. 7).

    Args:
        probabilities: [B, K].
        temperature: above 0; 1 changes nothing, towards 0 the largest becomes 1.
    """
    return (probabilities.float().clamp_min(torch.finfo(torch.float32).tiny).log() / temperature).softmax(dim=1)


def consistency(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Compute L_u (Eq. 3, 6): cross-entropy against hard or soft labels, counting only clips the mask selects.

    Args:
        logits: [B, K], the student's on the strong view.
        labels: [B] int64, the teacher's on the weak view, or its probabilities [B, K] float32.
        mask: [B] 0 or 1.

    Returns:
        Scalar: the mean over all B clips, masked ones counting 0.
    """
    return (F.cross_entropy(logits.float(), labels, reduction="none") * mask).mean()
