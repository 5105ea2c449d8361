"""A time at which a run must be over: which of its steps are left out so that it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

HEAVIER = 3.0
"""Expected cost of a step on labelled and unlabelled clips, in steps on labelled clips alone."""
VIEW = 0.5
"""Expected cost of evaluating a view that is not decoded yet, in clips of the first steps, which decode theirs too."""
ENDING_S = 4.0
"""Seconds for weights, tables and pictures at the end, beside as many as a run takes to begin."""
FEWEST_STEPS = 10
"""Steps by which the time of the others is judged, at least."""
NEARLY = 0.9
"""Share of an epoch's last steps that must fit for it to be ended: leaving some out has the clips read anew."""


@dataclass
class Deadline:
    """Watches the time that steps take, and says from which step to go on so that the last one is done in time.

    Steps are left out where the rest would take too long, whole epochs evenly over what is left, and near the end
    single steps. A step that is left out counts as one for whatever follows the steps: learning rates come to their
    end, and first epochs without unlabelled clips keep their share.

    Attributes:
        until: when the run must be over, with its evaluation, by `clock`.
        clock: seconds.
        begun: when it was set.
        light: first steps, which are on labelled clips alone; 0 where all are alike.
        views: of the evaluation at the end.
    """

    until: float
    clock: Callable[[], float] = time.monotonic
    begun: float = field(init=False)
    light: int = 0
    views: int = 0
    _last: float = field(init=False, default=0.0)
    _launch: float = field(init=False, default=0.0)
    _first: list[float] = field(init=False, default_factory=list)
    _steps: deque[tuple[float, float]] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    def start(self, light: int, views: int) -> None:
        """Begin to measure: what follows is steps, of which `light` are the lighter ones, and `views` to evaluate."""
        self.light, self.views = light, views
        self._last = self.clock()
        self._launch = self._last - self.begun

    def see(self, step: int, clips: int, epoch: int) -> None:
        """Note that a step of `clips` clips, one of `epoch` steps an epoch, is done."""
        now = self.clock()
        seconds, self._last = now - self._last, now
        if len(self._first) < FEWEST_STEPS:
            self._first.append(seconds / max(clips, 1))
        self._steps.append((seconds, self._cost(step)))
        while len(self._steps) > max(epoch, FEWEST_STEPS):
            self._steps.popleft()

    def next_step(self, step: int, steps: int, epoch: int) -> int:
        """Return the step to go on with: `step`, or a later one of `steps`; `steps` where no time is left.

        The first epoch, by which the others are judged, is begun in any case.
        """
        if not self._steps:
            return step
        fits = self._fitting(step, steps)
        done = step % epoch
        if done:
            return step if fits >= NEARLY * min(epoch - done, steps - step) else steps - fits
        if fits >= steps - step:
            return step
        if fits < epoch:
            return steps - fits
        left, whole = -(-(steps - step) // epoch), fits // epoch
        return min(step + (-(-left // whole) - 1) * epoch, steps)

    def _fitting(self, step: int, steps: int) -> int:
        """Return how many of the steps from `step` on fit into the time: the last of them count."""
        pace = sum(seconds for seconds, _ in self._steps) / sum(cost for _, cost in self._steps)
        left = (self.until - self._ending() - self.clock()) / max(pace, 1e-9)
        heavy = steps - max(step, min(self.light, steps))
        light = steps - step - heavy
        costs = (HEAVIER if self.light else 1.0), 1.0
        # In the share of light and heavy steps that is to come, since epochs are left out evenly.
        whole = heavy * costs[0] + light * costs[1]
        return max(int((steps - step) * min(left / whole, 1.0)), 0) if whole else 0

    def _ending(self) -> float:
        """Return the seconds to keep for the evaluation, and for weights, tables and pictures."""
        clip = sum(self._first) / len(self._first)
        return self.views * VIEW * clip + ENDING_S + self._launch

    def _cost(self, step: int) -> float:
        return 1.0 if step < self.light or not self.light else HEAVIER
