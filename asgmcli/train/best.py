"""The best epoch of a run by its validation: found on the way, kept on disk, taken back at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from asgmcli.errors import DataError
from asgmcli.recipe.base import Best
from asgmcli.train.checkpoint import State, load_state, save_state


@dataclass
class BestEpoch:
    """The best epoch so far.

    Its weights lie in memory, and in `folder` from the next checkpoint on: the file is written before the checkpoint
    that names it, and others are removed after it, so that a killed run finds both or neither.

    Attributes:
        rule: how epochs are compared.
        folder: of the checkpoints.
        validated: steps done at the last validation.
        step: steps done at the best one; 0 while there is none.
        epoch: of the best one.
        metrics: of the best validation.
    """

    rule: Best
    folder: Path
    validated: int = 0
    step: int = 0
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    weights: State | None = None
    _written: int = 0

    def see(self, step: int, epoch: int, metrics: Mapping[str, float], weights: State, *, better: bool) -> None:
        """Note a validation after `step` steps; copy `weights` if they are `better` than those kept."""
        self.validated = step
        if better:
            self.step, self.epoch, self.metrics = step, epoch, dict(metrics)
            self.weights = {name: _copied(value) for name, value in weights.items()}

    def better(self, metrics: Mapping[str, float]) -> bool:
        """Return True if `metrics` are better than the best so far by the rule; the first always are.

        Raises:
            DataError: the validation has none of the rule's metrics.
        """
        name = self._metric(metrics)
        if self.step == 0:
            return True
        new, old = (-values[name] if self.rule.lowest else values[name] for values in (metrics, self.metrics))
        if math.isnan(old) or math.isnan(new):
            return math.isnan(old) and not math.isnan(new)
        return new >= old if self.rule.latest else new > old

    def about(self) -> dict[str, object]:
        """Return what the result says of it: epoch (from 0), steps, metric, its value."""
        if self.step == 0:
            return {}
        name = self._metric(self.metrics)
        return {"epoch": self.epoch, "step": self.step, "metric": name, "value": self.metrics[name]}

    def save(self) -> State:
        """Write the weights unless they are written; return what the checkpoint holds of this."""
        if self.weights is not None and self._written != self.step:
            save_state(self._path(self.step), self.weights)
            self._written = self.step
        return {"validated": self.validated, "step": self.step, "epoch": self.epoch, "metrics": self.metrics}

    def tidy(self) -> None:
        """Remove the files that the written checkpoint no longer names."""
        for path in self.folder.glob("best_*.pt"):
            if path != self._path(self.step):
                path.unlink(missing_ok=True)

    def restore(self, state: State) -> None:
        """Restore what `save` returned.

        Raises:
            DataError: the weights that it names cannot be read.
        """
        self.validated, self.step, self.epoch = (int(state[name]) for name in ("validated", "step", "epoch"))
        self.metrics = {name: float(value) for name, value in state["metrics"].items()}
        if self.step:
            self.weights = load_state(self._path(self.step))
            self._written = self.step

    def _metric(self, metrics: Mapping[str, float]) -> str:
        for name in self.rule.metrics:
            if name in metrics:
                return name
        wanted = " nor ".join(self.rule.metrics)
        raise DataError(f"The validation measures no {wanted}: the best epoch cannot be told. Set train.keep=last.")

    def _path(self, step: int) -> Path:
        return self.folder / f"best_{step}.pt"


def _copied(value: object) -> object:
    """Return a copy of a nested state with its tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list | tuple) else value
