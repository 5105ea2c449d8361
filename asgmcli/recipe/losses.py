"""The terms of the recognition loss beside L_s and their weights (Eq. 21), thresholds and masks.

Defaults are the paper's values where it gives one. The letters are those of the paper: τ threshold, λ mixing weight,
γ loss weights.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from asgmcli.recipe.bounds import NonNegative, PositiveFloat, PositiveShare, Share
from asgmcli.recipe.sections import Section


class UnlabeledLoss(Section):
    """L_u (Eq. 6) and its weight γ1."""

    weight: NonNegative = 2.0
    """γ1, weight of the pseudo-labels' loss on strong views; 0 leaves it out."""
    labels: Literal["sharp", "soft"] = "sharp"
    """What a strong view is to say: the teacher's label (FixMatch), or `soft`, its probabilities at `temperature`."""
    temperature: PositiveFloat = 1.0
    """Temperature of soft labels: below 1 sharper than what the teacher says, 1 as it says."""


OLD_SPACE: tuple[str | bool, ...] = ("on", True)
"""What `losses.mixup.space` was called, and what YAML 1.1 reads that as."""


class MixupLoss(Section):
    """L_mix (Eq. 12), its weight γ2, and what its target is."""

    weight: NonNegative = 2.0
    """γ2, weight of the mixtures' loss; 0 mixes nothing."""
    space: Literal["logits", "probabilities"] = "logits"
    """What is compared with the target."""
    target: Literal["tokens", "mass", "constant"] = "tokens"
    """What clip A's share of a mixture counts: its tokens, the weight of its map's rest, or nothing (`constant`)."""
    constant: Share = 0.6
    """Clip A's share of every mixture where `target` is constant."""
    labels: Literal["sharp", "soft", "given"] = "sharp"
    """`soft` takes the teacher's probabilities even where its label passed the threshold; `given` the clips' own
    labels, where `data.unlabeled` is labeled."""
    mask: Literal["clips", "mixture"] = "clips"
    """What counts: each clip's part where its own label passed (SVFormer's released code), or a mixture as a whole
    where the largest value of its mixed label reaches `thresholds.value` (Eq. 12 as printed, of soft labels)."""

    @model_validator(mode="before")
    @classmethod
    def _old_key(cls, values: object) -> object:
        """Take the key's old name, which older recipes and stored runs have."""
        old = [key for key in OLD_SPACE if key in values] if isinstance(values, dict) else []
        if not isinstance(values, dict) or not old:
            return values
        if len(old) > 1 or "space" in values:
            raise ValueError("space and its old name, on, are both given: keep space alone")
        return {("space" if key == old[0] else key): value for key, value in values.items()}


class ContrastiveLoss(Section):
    """L_c (Eq. 15-20), its weight γ3 and temperature."""

    weight: NonNegative = 0.1
    """γ3, weight of the contrastive loss between picture and sound; 0 leaves it out."""
    temperature: PositiveFloat = 0.05
    """Temperature of the similarities."""
    clips: Literal["all", "unmixed"] = "all"
    """Clips that are compared: all, mixtures among them (Eq. 15), or only `unmixed` ones."""


class Losses(Section):
    """L = L_s + γ1 L_u + γ2 L_mix + γ3 L_c (Eq. 21)."""

    unlabeled: UnlabeledLoss = UnlabeledLoss()
    """L_u: pseudo-labels on strong views."""
    mixup: MixupLoss = MixupLoss()
    """L_mix: mixtures of two clips."""
    contrastive: ContrastiveLoss = ContrastiveLoss()
    """L_c: picture against sound."""


class Thresholds(Section):
    """When the teacher's label is trusted: FixMatch's fixed τ or FlexMatch's per class (Eq. 4-5)."""

    kind: Literal["fixed", "flexible", "none"] = "flexible"
    """FixMatch's one threshold, FlexMatch's a class, or none: every clip passes."""
    value: PositiveShare = 0.3
    """τ, the teacher's confidence that a label needs; under flexible the most that it needs."""
    mapping: Literal["linear", "convex"] = "linear"
    """How a class's threshold follows its learning status: as printed (Eq. 5), or FlexMatch's own."""
    warmup: bool = False
    """Let clips without a label count in the learning status, as FlexMatch does."""
    alignment: bool = False
    """Align the teacher's probabilities, before all else, with the class shares of the labelled clips (ReMixMatch's
    distribution alignment)."""


class Masks(Section):
    """Which tokens of clip A a mixture keeps; λ ~ Beta(alpha, beta)."""

    kind: Literal["tube", "block", "localization"] = "localization"
    """The same random tokens in all frames (`block`: a rectangle of them), or those where the localizer says the sound
    is."""
    alpha: PositiveFloat = 5.0
    """First parameter of Beta, which λ, the share of clip A's tokens, is drawn from."""
    beta: PositiveFloat = 10.0
    """Second parameter of Beta."""
    average_frames: Literal[1, 2, 4, 8] = 1
    """Frames of tokens that share the mean of their maps."""
    sharpness: PositiveFloat = 1.0
    """Power that the localizer's map (min-max normalised) is raised to."""
    placebo: Literal["none", "roll", "shuffle"] = "none"
    """A control: maps that point to a wrong place, moved around the edges or their cells shuffled."""
    maps: Literal["own", "both"] = "own"
    """Whose maps draw the tokens that clip A keeps: its own (the paper's), or `both` clips': where A's is high and B's
    low."""
