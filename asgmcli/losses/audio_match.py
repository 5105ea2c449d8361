"""Audio-visual matching: what lies under the predicted mask should look as the sound sounds (AVSBench's `avm` loss).

J. Zhou et al., "Audio-Visual Segmentation", ECCV 2022; UFE's λ₁ term of Eq. 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-6


def audio_match(
    maps: Sequence[Tensor],
    audio: Sequence[Tensor],
    logits: Tensor,
    kind: Literal["cosine", "kl"] = "cosine",
    reduction: Literal["mean", "sum"] = "mean",
    counted: Tensor | None = None,
) -> Tensor:
    """Return the matching loss, a scalar: the mean over stages.

    `cosine` (one source): the mask is the sigmoid pooled to the map's size, > .5; the map is averaged over it; the loss
    is -ln(relu(cos) + 1e-6) with the sound. `kl` (several sources): the mask is the sigmoid of the pooled logits; the
    map times the mask is averaged over all pixels; the loss is KL(softmax sound ‖ softmax map).

    Args:
        maps: of k stages, [N, C, h, w] each.
        audio: the sound at each stage's width, [N, C] each.
        logits: [N, H, W].
        kind: see above.
        reduction: over the N frames.
        counted: bool [N, H, W]; pixels that are not are outside of the mask.
    """
    losses = [_stage(x, sound, logits, kind, counted) for x, sound in zip(maps, audio, strict=True)]
    frames = torch.stack(losses).mean(dim=0)
    return frames.sum() if reduction == "sum" else frames.mean()


def _stage(x: Tensor, sound: Tensor, logits: Tensor, kind: str, counted: Tensor | None) -> Tensor:
    """Return [N]: the loss of each frame at one stage."""
    x, sound, size = x.float(), sound.float(), (x.shape[-2], x.shape[-1])
    if kind == "kl":
        mask = _pooled_logits(logits.float(), size, counted)
        seen = (x * mask[:, None]).mean(dim=(2, 3))
        return F.kl_div(seen.log_softmax(dim=1), sound.softmax(dim=1), reduction="none").sum(dim=1)
    share = logits.float().sigmoid() if counted is None else logits.float().sigmoid() * counted
    mask = (F.adaptive_avg_pool2d(share[:, None], size) > 0.5).float()
    seen = (x * mask).sum(dim=(2, 3)) / (mask.sum(dim=(2, 3)) + _EPS)
    return -(F.relu(F.cosine_similarity(seen, sound, dim=1)) + _EPS).log()


def _pooled_logits(logits: Tensor, size: tuple[int, int], counted: Tensor | None) -> Tensor:
    """Return [N, h, w] in 0..1: the sigmoid of the mean logit of a cell's counted pixels, times their share."""
    if counted is None:
        return F.adaptive_avg_pool2d(logits[:, None], size)[:, 0].sigmoid()
    share = F.adaptive_avg_pool2d(counted[:, None].float(), size)[:, 0]
    total = F.adaptive_avg_pool2d((logits * counted)[:, None], size)[:, 0]
    return (total / share.clamp(min=_EPS)).sigmoid() * share
