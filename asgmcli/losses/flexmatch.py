"""FlexMatch: a confidence threshold a class that follows how well the class is learnt (thesis, Eq. 4-5).

B. Zhang et al., "FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling", NeurIPS 2021.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

_UNSEEN = -1


class FlexibleThreshold:
    """T(c) = τ · mapping(σ(c) / max σ), where σ(c) counts the clips whose latest confident (≥ τ) label is c.

    One label is kept a clip; a later view that is not confident leaves it as it was. While σ is 0 for every class the
    threshold is τ without warm-up and 0 with it. The state follows the device of the probabilities it is given.

    Args:
        clips: number of unlabelled clips; ids run from 0 to clips - 1.
        classes: K.
        threshold: τ in (0, 1].
        mapping: `linear` x (Eq. 5 as printed) or `convex` x / (2 - x) (FlexMatch's own).
        warmup: let the number of clips without a label take part in the maximum (FlexMatch's own).

    Raises:
        ValueError: an argument outside these ranges.
    """

    def __init__(
        self,
        clips: int,
        classes: int,
        threshold: float,
        mapping: Literal["linear", "convex"] = "linear",
        warmup: bool = False,
    ) -> None:
        if clips < 1 or classes < 1:
            raise ValueError(f"clips and classes must be at least 1, got {clips} and {classes}")
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
        if mapping not in ("linear", "convex"):
            raise ValueError(f"mapping must be 'linear' or 'convex', got {mapping!r}")
        self.threshold = threshold
        self.mapping = mapping
        self.warmup = warmup
        self._labels = torch.full((clips,), _UNSEEN)
        self._counts = torch.zeros(classes, dtype=torch.int64)

    @property
    def status(self) -> Tensor:
        """Return [K] float32 in 0..1: σ(c) over its maximum, with warm-up over the larger of that and the unlabelled
        count.
        """
        largest = self._counts.amax()
        if self.warmup:
            largest = torch.maximum(largest, self._labels.numel() - self._counts.sum())
        return self._counts / largest.clamp_min(1)

    def thresholds(self) -> Tensor:
        """Return [K] float32: each class's threshold T(c), in 0..τ (Eq. 5)."""
        status = self.status
        mapped = status / (2 - status) if self.mapping == "convex" else status
        if not self.warmup:
            mapped = torch.where(self._counts.amax() > 0, mapped, torch.ones_like(mapped))
        return self.threshold * mapped

    def select(self, ids: Tensor, probabilities: Tensor) -> Tensor:
        """Mark the clips that pass their class's threshold as it stood before this batch, then update the status.

        Of a clip that occurs twice the last confident label stays.

        Args:
            ids: [B] int64 clip numbers.
            probabilities: [B, K] the teacher's on the weak view.

        Returns:
            [B] float32 of 0 and 1.

        Raises:
            IndexError: an id outside 0..clips - 1 (checked where the ids are on the CPU).
        """
        if ids.device.type == "cpu" and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(self._labels):
            raise IndexError(f"clip ids must lie in 0..{len(self._labels) - 1}, got {int(ids.min())}..{int(ids.max())}")
        device = probabilities.device
        self._labels, self._counts = self._labels.to(device), self._counts.to(device)
        confidence, labels = probabilities.detach().float().max(dim=1)
        mask = (confidence >= self.thresholds()[labels]).float()
        latest = torch.where(confidence >= self.threshold, labels, _UNSEEN)
        self._update(ids.to(device), latest)
        return mask

    def _update(self, ids: Tensor, latest: Tensor) -> None:
        """Store each id's last confident label and move the counts by the difference. ids, latest: [B] int64."""
        if ids.numel() == 0:
            return
        order = torch.arange(len(ids), device=ids.device)
        rivals = (ids[:, None] == ids[None, :]) & (latest != _UNSEEN)[None, :]
        # [B] position of the last confident occurrence of the same clip, -1 where there is none. Every occurrence
        # then writes the same value, so that the result does not depend on the order of a parallel write.
        last = torch.where(rivals, order, _UNSEEN).amax(dim=1)
        before = self._labels[ids]
        after = torch.where(last == _UNSEEN, before, latest[last])
        self._labels[ids] = after
        counted = (last == order)[:, None]
        classes = torch.arange(len(self._counts), device=ids.device)
        gained, lost = after[:, None] == classes, before[:, None] == classes
        self._counts += ((gained & counted).long() - (lost & counted).long()).sum(dim=0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return `labels` [clips] int64: each clip's latest confident label, -1 if there is none yet."""
        return {"labels": self._labels.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up the labels that `state_dict` gave.

        Raises:
            ValueError: the state is of another number of clips or classes.
        """
        labels = state["labels"].to(self._labels.device, torch.int64)
        classes = len(self._counts)
        if labels.shape != self._labels.shape:
            raise ValueError(f"the state holds {labels.numel()} clips, this threshold {self._labels.numel()}")
        if not _UNSEEN <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(f"the state names class {int(labels.max())}, this threshold has {classes} classes")
        self._labels = labels.clone()
        self._counts = torch.bincount(labels[labels != _UNSEEN], minlength=classes)
