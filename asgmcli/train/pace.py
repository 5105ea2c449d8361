"""The clock of a run: its phases in status.json, and what a line of metrics.jsonl says of time and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from rich.console import Console

from asgmcli.errors import AsgmError
from asgmcli.prepare.source import open_manifest
from asgmcli.progress import LINE_SECONDS, left_of
from asgmcli.recipe.base import TrainedRecipe
from asgmcli.status import STATUS_NAME, Phase, Status
from asgmcli.train.task import AnyTask

CLOCK_KEYS = ("clips_per_second", "seconds", "memory_mb")
"""Keys of a line of metrics.jsonl that depend on the clock and the machine; a resumed run repeats all others."""
TRAIN, VALIDATE, EVALUATE = "train", "validate", "evaluate"
FORWARD = 1 / 3
"""Expected cost of evaluating a view, in clips trained: forward alone, where a step goes forward and back."""


class Pace:
    """Measures clips a second since the last line, seconds of training so far, and the peak of memory.

    `seconds` are those of earlier processes of the run.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device
        self.earlier = 0.0
        self._begun = self._last = time.perf_counter()
        self._clips = 0

    @property
    def seconds(self) -> float:
        """Return the seconds of the run so far, over all its processes."""
        return self.earlier + time.perf_counter() - self._begun

    def add(self, clips: int) -> None:
        """Count the clips of a step."""
        self._clips += clips

    def measure(self) -> dict[str, float]:
        """Return the values of `CLOCK_KEYS` (1/s, s, MB), and begin anew to count clips."""
        now = time.perf_counter()
        rate, self._clips, self._last = self._clips / max(now - self._last, 1e-9), 0, now
        values = (round(rate, 2), round(self.seconds, 2), round(peak_memory(self.device) / 1e6))
        return dict(zip(CLOCK_KEYS, values, strict=True))


def peak_memory(device: torch.device | None) -> int:
    """Return the most bytes so far: of tensors on a GPU, else of this process."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


class RunStatus(Status):
    """The status of a training run over its phases: train, validate, evaluate."""

    def __init__(self, folder: Path | None, title: str, recipe: TrainedRecipe, steps: int, epoch: int) -> None:
        epochs = -(-steps // epoch)
        every = recipe.train.evaluate_every
        phases = [Phase(TRAIN, steps)]
        if recipe.keeps_best:
            phases.append(Phase(VALIDATE, epochs))
        phases.append(Phase(EVALUATE, 1 + ((epochs - 1) // every if every else 0)))
        super().__init__(None if folder is None else folder / STATUS_NAME, TRAIN, title, phases)
        self._views = {VALIDATE: 0, EVALUATE: 0}
        self._light_epochs = 0

    def resume(self, step: int, epoch: int, every: int, validated: int) -> None:
        """Count what earlier processes have done, up to `step`."""
        done = {TRAIN: step, VALIDATE: -(-validated // epoch), EVALUATE: step // epoch // every if every else 0}
        for phase in self.phases:
            phase.done = min(done.get(phase.name, 0), phase.of or 0)

    def count_views(self, task: AnyTask, recipe: TrainedRecipe) -> None:
        """Count the views of an evaluation and a validation, from which their time is expected."""
        try:
            counts = task.count(recipe, open_manifest)
        except AsgmError:  # told where it matters
            return
        self._views = {VALIDATE: counts.validated, EVALUATE: counts.views}
        self._light_epochs = counts.light_epochs

    def expected(self, epoch: int) -> tuple[int, int]:
        """Return the number of first steps that are lighter, of epochs of `epoch` steps, and that of views at the end;
        after `count_views`."""
        return self._light_epochs * epoch, self._views[EVALUATE]

    def expect(self, clips: int) -> None:
        """Set the expected cost of evaluations, in steps of `clips` clips."""
        for phase in self.phases:
            if phase.name in self._views:
                phase.cost = max(1.0, FORWARD * self._views[phase.name] / max(1, clips))

    def over(self, name: str, batches: Iterable[object], console: Console) -> Iterator[object]:
        """Yield the batches of an evaluation as one item of the phase `name`, with a line now and then in a log."""
        self.begin(name)
        said = time.monotonic()
        for number, batch in enumerate(batches):
            now = time.monotonic()
            if not console.is_terminal and now - said > LINE_SECONDS:
                said = now
                console.print(f"{self.title}: {name}, batch {number}, {left_of(self)}")
            self.touch()
            yield batch
        self.step(self._current.done + 1)
