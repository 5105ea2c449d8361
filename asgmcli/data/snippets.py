"""Which seconds of a clip belong together: connected components of seconds that look and sound alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

SMALLEST_NORM = 1e-6
Rule = Literal["both", "either"]


def grounding_truth(
    sound: Tensor,
    picture: Tensor,
    silence: Tensor | None = None,
    rule: Rule = "both",
    sound_threshold: float = 0.99,
    picture_threshold: float = 0.96,
) -> Tensor:
    """Return bool [T, T]: True for two seconds of one connected component, each with itself among them.

    Args:
        sound: features [T, A] of each second.
        picture: features [T, I].
        silence: features [A] of no sound: a second that is like it is like no other by sound. None knows no silence.
        rule: seconds are joined when they are alike by `both`, or by `either`.
        sound_threshold: cosine above which sounds are alike.
        picture_threshold: cosine above which pictures are alike.
    """
    heard = _cosines(sound, sound) > sound_threshold
    if silence is not None:
        loud = _cosines(sound, silence[None])[:, 0] <= sound_threshold
        heard = heard & loud[:, None] & loud[None, :]
    seen = _cosines(picture, picture) > picture_threshold
    joined = heard & seen if rule == "both" else heard | seen
    reach = (joined | torch.eye(len(sound), dtype=torch.bool, device=sound.device)).double()
    length = 1
    while length < len(sound):  # paths of up to `length` steps, doubled until they may pass every second
        reach = ((reach @ reach) > 0).double()
        length *= 2
    return reach > 0


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    """Return cosines float64 [n, m] of [n, F] and [m, F], with norms of at least 1e-6."""
    units = []
    for rows in (one, other):
        rows = rows.double()
        units.append(rows / rows.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM))
    cosines: Tensor = units[0] @ units[1].T
    return cosines
