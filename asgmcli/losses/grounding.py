"""The grounding loss (Lamba et al., Interspeech 2021, Eq. 3-5): seconds of one scene near each other, others apart."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Kind = Literal["uni", "cross", "multi"]


def grounding_loss(
    audio: Tensor,
    visual: Tensor,
    truth: Tensor,
    kind: Kind,
    positive: float = 0.7,
    negative: float = 0.7,
    anchors: Tensor | None = None,
) -> Tensor:
    """Compute hinge losses of the cosines of a clip's seconds i, j.

    A pair of truth 1 costs max(0, positive - s), any other max(0, s - negative). Each kind of pair gives the mean over
    its pairs: `uni` adds those within sound and within picture, `cross` those of picture with sound and back, `multi`
    all four.

    Args:
        audio: [B, T, D].
        visual: [B, T, D].
        truth: bool [B, T, T], True where two seconds belong together.
        kind: `uni`, `cross` or `multi`.
        positive: margin p.
        negative: margin n.
        anchors: the seconds i that are taken, int [n]; None takes all.
    """
    sound, picture = (functional.normalize(part.float(), dim=-1, eps=1e-8) for part in (audio, visual))
    pairs = {
        "uni": ((sound, sound), (picture, picture)),
        "cross": ((picture, sound), (sound, picture)),
    }
    chosen = pairs["uni"] + pairs["cross"] if kind == "multi" else pairs[kind]
    total = sound.new_zeros(())
    for one, other in chosen:
        same = truth
        if anchors is not None:
            one, same = one[:, anchors], truth[:, anchors]
        cosine = one @ other.transpose(1, 2)
        cost = torch.where(same, positive - cosine, cosine - negative).relu()
        total = total + cost.mean()
    return total
