"""Training output: the progress bar on the terminal, and metrics.jsonl."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

from rich.console import Console

from asgmcli.console import progress_bar
from asgmcli.errors import DataError
from asgmcli.progress import LINE_SECONDS, left_of
from asgmcli.status import Status
from asgmcli.train.checkpoint import State
from asgmcli.train.pace import Pace

LOG_EVERY = 10
SMALL = 1e-3


class Logger(Protocol):
    """Another display of the run's numbers."""

    def show(self, line: Mapping[str, object]) -> None:
        """Show one line of metrics.jsonl."""


class MetricsFile:
    """Writes metrics.jsonl: means of every `LOG_EVERY` steps (and of the rest at the end), and evaluations.

    But for the values of `pace.CLOCK_KEYS` nothing in it depends on the clock, so a resumed run leaves the same file
    as an uninterrupted one.

    Args:
        path: of the file.
        pace: measures time and memory for each line of steps; None leaves them out.
        writing: False at every rank but the first, which alone has the file.
    """

    def __init__(self, path: Path, pace: Pace | None = None, *, writing: bool = True) -> None:
        self.path, self.writing = path, writing
        self.pace = pace
        self.loggers: Sequence[Logger] = ()
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, step: int, epoch: int, terms: Mapping[str, float], clips: int = 0) -> None:
        """Add the terms of one step of `clips` clips; write a line every `LOG_EVERY` steps."""
        if self.pace is not None:
            self.pace.add(clips)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        if (step + 1) % LOG_EVERY == 0:
            self.flush(step, epoch)

    def flush(self, step: int, epoch: int) -> None:
        """Write the pending means as a line of `step`."""
        if self._sums:
            means = {name: rounded(total / self._counts[name]) for name, total in self._sums.items()}
            self._sums, self._counts = {}, {}
            measured = {} if self.pace is None else self.pace.measure()
            self.write({"step": step + 1, "epoch": epoch, **means, **measured})

    def write(self, line: Mapping[str, object]) -> None:
        """Append one line.

        Raises:
            DataError: the file cannot be written.
        """
        if not self.writing:
            return
        with self._told(), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for logger in self.loggers:
            logger.show(line)

    def restart(self) -> None:
        """Delete the lines of a run killed before its first checkpoint: its steps are repeated."""
        self.load_state_dict({"size": 0, "sums": {}, "counts": {}})

    def state_dict(self) -> State:
        """Return the file's length, after flushing it to disk, and the pending means.

        Raises:
            DataError: the file cannot be written.
        """
        size = 0
        if self.writing and self.path.exists():
            with self._told(), self.path.open("rb+") as file:
                os.fsync(file.fileno())
                size = self.path.stat().st_size
        seconds = 0.0 if self.pace is None else self.pace.seconds
        return {"size": size, "sums": dict(self._sums), "counts": dict(self._counts), "seconds": seconds}

    def load_state_dict(self, state: State) -> None:
        """Truncate the file to its length when the state was saved, and continue from there.

        Raises:
            DataError: the file cannot be written.
        """
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        if self.pace is not None:
            self.pace.earlier = float(state.get("seconds", 0.0))
        if self.writing and self.path.exists():
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


class TrainingProgress:
    """A live bar on a terminal, a line every few seconds elsewhere.

    Args:
        console: where to show it (standard error).
        title: of the bar.
        steps: steps of the whole run.
        done: steps already done (a resumed run).
        status: is told each step and tells the time left.
    """

    def __init__(self, console: Console, title: str, steps: int, done: int, status: Status | None = None) -> None:
        self.console = console
        self.status = status
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
        """Return the clips a second so far."""
        return self.clips / max(self.seconds, 1e-9)

    def step(self, step: int, epoch: int, terms: Mapping[str, float], clips: int) -> None:
        """Show one finished step."""
        now = time.perf_counter()
        self.clips += clips
        self.seconds = now - self._started
        text = f"epoch {epoch + 1}  {describe(terms)}  {self.rate:.0f} clips/s"
        if self.status is not None:
            self.status.step(step + 1, {**terms, "clips_per_second": self.rate})
            text += f"  {left_of(self.status)}"
        self._bar.update(self._task, completed=step + 1, terms=text)
        if not self.console.is_terminal and (now - self._last_line > LINE_SECONDS or step + 1 == self.steps):
            self._last_line = now
            self.console.print(f"{self.title}: step {step + 1}/{self.steps}  {text}")


def rounded(value: float) -> float:
    """Return `value` with six decimals, a small one, such as a learning rate, with four digits."""
    return round(value, 6) if abs(value) >= SMALL else float(f"{value:.4g}")


def describe(terms: Mapping[str, float]) -> str:
    """Format terms as `loss 1.23  pseudo-labels 45%`: shares (names ending in _share or _accuracy) as percent."""
    parts = []
    for name, value in terms.items():
        shown = f"{100 * value:.0f}%" if name.endswith(("_share", "_accuracy")) else f"{value:.3f}"
        parts.append(f"{name.replace('_', ' ')} {shown}")
    return "  ".join(parts)


def read_metrics(path: Path) -> list[dict[str, object]]:
    """Return the lines of a run's metrics.jsonl; several evaluations become separate quantities.

    Raises:
        DataError: a line is not JSON.
    """
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            lines.append(dict(json.loads(text)))
        except (ValueError, TypeError):
            raise DataError(f"{path}:{number}: not a JSON object; remove the line") from None
    evaluations = [line for line in lines if "evaluation" in line]
    training = [line for line in lines if "evaluation" not in line]
    if len(evaluations) < 2:
        return training
    measured = [
        {"step": line.get("step"), **{f"{name}, evaluated": value for name, value in line["evaluation"].items()}}
        for line in evaluations
    ]
    return training + measured
