"""What a person sees while a run trains, and what is kept of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console

from asgmcli.console import progress_bar
from asgmcli.errors import DataError

LOG_EVERY = 10
LINE_SECONDS = 10.0


class Board(Protocol):
    """Something else that shows the numbers."""

    def show(self, line: Mapping[str, object]) -> None:
        """Take up one line of metrics.jsonl."""


class MetricsFile:
    """metrics.jsonl: means of every `LOG_EVERY` steps (and of what is left at the end), and evaluations.

    Nothing in it depends on the clock, so that a resumed run leaves the same file as one that was never stopped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.boards: Sequence[Board] = ()
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, step: int, epoch: int, terms: Mapping[str, float]) -> None:
        """Take up the terms of one step and write a line when `LOG_EVERY` are together."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        if (step + 1) % LOG_EVERY == 0:
            self.flush(step, epoch)

    def flush(self, step: int, epoch: int) -> None:
        """Write the means under way, as a line of `step`."""
        if self._sums:
            means = {name: round(total / self._counts[name], 6) for name, total in self._sums.items()}
            self._sums, self._counts = {}, {}
            self.write({"step": step + 1, "epoch": epoch, **means})

    def write(self, line: Mapping[str, object]) -> None:
        """Append one line.

        Raises:
            DataError: the disk refuses.
        """
        with self._told(), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for board in self.boards:
            board.show(line)

    def restart(self) -> None:
        """Drop what a run that was killed before its first checkpoint left: its steps are done again."""
        self.load_state_dict({"size": 0, "sums": {}, "counts": {}})

    def state_dict(self) -> dict[str, Any]:
        """Length of the file, which is flushed to the disk, and the means under way.

        Raises:
            DataError: the disk refuses.
        """
        size = 0
        if self.path.exists():
            with self._told(), self.path.open("rb+") as file:
                os.fsync(file.fileno())
                size = self.path.stat().st_size
        return {"size": size, "sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cut off what was written after the state was saved, and go on from there.

        Raises:
            DataError: the disk refuses.
        """
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        if self.path.exists():
            with self._told(), self.path.open("r+b") as file:
                file.truncate(min(int(state["size"]), self.path.stat().st_size))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {error.strerror}. Make room, then go on with --resume."
            ) from error


class NoMetrics(MetricsFile):
    """What a rank has that is not the first, which alone writes."""

    def write(self, line: Mapping[str, object]) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing that is saved."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


class TrainingProgress:
    """A live bar on a terminal, a line every few seconds elsewhere.

    Args:
        console: where to show it (standard error).
        title: of the bar.
        steps: of the whole run.
        done: steps done before (a resumed run).
    """

    def __init__(self, console: Console, title: str, steps: int, done: int) -> None:
        self.console = console
        self.title = title
        self.steps = steps
        self.clips = 0
        self.seconds = 0.0
        self._started = time.perf_counter()
        self._last_line = self._started
        self._bar = progress_bar(console, "terms", width=20)
        self._task = self._bar.add_task(title, total=steps, completed=done, terms="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def rate(self) -> float:
        """Clips a second so far."""
        return self.clips / max(self.seconds, 1e-9)

    def step(self, step: int, epoch: int, terms: Mapping[str, float], clips: int) -> None:
        """Show one finished step."""
        now = time.perf_counter()
        self.clips += clips
        self.seconds = now - self._started
        text = f"epoch {epoch + 1}  {describe(terms)}  {self.rate:.0f} clips/s"
        self._bar.update(self._task, completed=step + 1, terms=text)
        if not self.console.is_terminal and (now - self._last_line > LINE_SECONDS or step + 1 == self.steps):
            self._last_line = now
            self.console.print(f"{self.title}: step {step + 1}/{self.steps}  {text}")


def describe(terms: Mapping[str, float]) -> str:
    """`loss 1.23  pseudo-labels 45%`: shares (names ending in _share or _accuracy) as percent."""
    parts = []
    for name, value in terms.items():
        shown = f"{100 * value:.0f}%" if name.endswith(("_share", "_accuracy")) else f"{value:.3f}"
        parts.append(f"{name.replace('_', ' ')} {shown}")
    return "  ".join(parts)
