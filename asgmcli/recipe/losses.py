"""The terms of the recognition loss beside L_s, and their weights (Eq. 21)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from asgmcli.recipe.bounds import NonNegative, PositiveFloat, Share
from asgmcli.recipe.sections import Section


class UnlabeledLoss(Section):
    """L_u (Eq. 6) and its weight γ1."""

    weight: NonNegative = 2.0


OLD_SPACE: tuple[Any, ...] = ("on", True)
"""What `losses.mixup.space` was called, and what YAML 1.1 reads that as."""


class MixupLoss(Section):
    """L_mix (Eq. 12), its weight γ2, and the space in which the target is compared: logits or probabilities.

    `target` is what A's share of the mixture counts, in the target, the labels' weights and the mixed sound: `tokens`
    the fraction kept (the paper's), `mass` what is left of A's map beside what is left of B's, `constant` the number
    `constant`. `labels: soft` takes the teacher's probabilities even where its label passed the threshold.
    """

    weight: NonNegative = 2.0
    space: Literal["logits", "probabilities"] = "logits"
    target: Literal["tokens", "mass", "constant"] = "tokens"
    constant: Share = 0.6
    labels: Literal["sharp", "soft"] = "sharp"

    @model_validator(mode="before")
    @classmethod
    def _old_key(cls, values: Any) -> Any:
        """Take the key's old name, which older recipes and stored runs have."""
        old = [key for key in OLD_SPACE if isinstance(values, dict) and key in values]
        if not old:
            return values
        if len(old) > 1 or "space" in values:
            raise ValueError("space and its old name, on, are both given: keep space alone")
        return {("space" if key == old[0] else key): value for key, value in values.items()}


class ContrastiveLoss(Section):
    """L_c (Eq. 15-20), its weight γ3 and temperature."""

    weight: NonNegative = 0.1
    temperature: PositiveFloat = 0.05


class Losses(Section):
    """L = L_s + γ1 L_u + γ2 L_mix + γ3 L_c (Eq. 21)."""

    unlabeled: UnlabeledLoss = UnlabeledLoss()
    mixup: MixupLoss = MixupLoss()
    contrastive: ContrastiveLoss = ContrastiveLoss()
