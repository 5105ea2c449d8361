"""The mask loss of AVSegFormer: one minus the Dice coefficient of each frame (UFE, Eq. 4)."""

from __future__ import annotations

from torch import Tensor

# Of the released loss, in each of the two sums below the line.
_SMOOTH = 0.001
_FLOOR = 1e-12


def dice(logits: Tensor, target: Tensor, squared: bool = True, counted: Tensor | None = None) -> Tensor:
    """Return the Dice loss, a scalar: taken a frame over its counted pixels, then averaged over frames.

    1 - 2 Σ p·y / (Σ p² + .001 + Σ y² + .001), as released; the paper prints Σ p + Σ y below the line.

    Args:
        logits: [N, H, W]; p is their sigmoid.
        target: y, [N, H, W] in 0..1.
        squared: the released form; False is the printed one, without the .001.
        counted: bool [N, H, W]; all pixels where left out.
    """
    p, y = logits.float().sigmoid().flatten(1), target.float().flatten(1)
    if counted is not None:
        p, y = p * counted.flatten(1), y * counted.flatten(1)
    both = 2 * (p * y).sum(dim=1)
    if squared:
        return (1 - both / ((p * p).sum(dim=1) + (y * y).sum(dim=1) + 2 * _SMOOTH)).mean()
    return (1 - both / (p.sum(dim=1) + y.sum(dim=1)).clamp(min=_FLOOR)).mean()
