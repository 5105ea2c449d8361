"""status.json: how far a long command is, for `asgm status` and other programs to read while it works."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from asgmcli.errors import Interrupted, InterruptedByKeyboard

STATUS_NAME = "status.json"
WRITE_SECONDS = 2.0
"""Least time between two writes of the file, s."""
RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"


@dataclass
class Phase:
    """A part of a command's work.

    Attributes:
        name: of the phase, such as `train`.
        of: its items, None where unknown.
        cost: expected time of an item, in a unit that all phases share. It counts until an item was measured.
        done: items done, with those of an earlier process.
    """

    name: str
    of: int | None
    cost: float = 1.0
    done: int = 0
    seconds: float = 0.0
    measured: int = 0

    def left(self, pace: float | None) -> float | None:
        """Return the seconds for its remaining items; `pace` is the seconds a unit of cost in other phases."""
        if self.of is None:
            return None
        remaining = max(0, self.of - self.done)
        each = self.seconds / self.measured if self.measured else None if pace is None else pace * self.cost
        return 0.0 if not remaining else None if each is None else remaining * each


class Status:
    """Keeps status.json: phase, step, rate, time left over all phases, last numbers, host, process.

    It is written when a phase begins or ends and at most every `WRITE_SECONDS` in between. A file that cannot be
    written ends nothing.

    Args:
        path: of the file; None keeps none, for ranks but the first.
        command: such as `train`.
        title: of the work.
        phases: in the order of the work; one may be entered several times.
    """

    def __init__(self, path: Path | None, command: str, title: str, phases: Sequence[Phase]) -> None:
        self.path = path
        self.command, self.title = command, title
        self.phases = list(phases)
        self.numbers: dict[str, float] = {}
        self.state, self.message = RUNNING, ""
        self.known_left: float | None = None
        """Time left, s, where it is known from elsewhere."""
        self._current = self.phases[0]
        self._begun = datetime.now(timezone.utc)
        self._since = time.monotonic()  # when the present item was begun
        self._written = float("-inf")

    def begin(self, name: str, of: int | None = None, done: int | None = None) -> None:
        """Enter the phase `name`; `of` and `done` replace its counts where they are known only now."""
        self._current = next(phase for phase in self.phases if phase.name == name)
        self._current.of = self._current.of if of is None else of
        self._current.done = self._current.done if done is None else done
        self._since = time.monotonic()
        self._write()

    def step(self, done: int, numbers: Mapping[str, float] | None = None) -> None:
        """Note that `done` items of the phase are done, and the numbers to show."""
        now, phase = time.monotonic(), self._current
        if done > phase.done:
            phase.seconds += now - self._since
            phase.measured += done - phase.done
            self._since = now
        phase.done = done
        self.numbers = self.numbers if numbers is None else dict(numbers)
        self.touch()

    def touch(self) -> None:
        """Note that the work goes on, though no item is done."""
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self._write()

    def end(self, state: str, message: str = "") -> None:
        """Write the last state and why it is that."""
        self.state, self.message = state, message
        self._write()

    @property
    def seconds_left(self) -> float | None:
        """Return the time that all phases take from now on, s; None while it cannot be told."""
        if self.known_left is not None:
            return self.known_left
        known = [phase for phase in self.phases if phase.measured]
        units = sum(phase.measured * phase.cost for phase in known)
        pace = sum(phase.seconds for phase in known) / units if units else None
        parts = [phase.left(pace) for phase in self.phases]
        if any(part is None for part in parts):
            return None
        left = sum(part for part in parts if part is not None)
        return max(0.0, left - (time.monotonic() - self._since if self._unfinished else 0.0))

    @property
    def _unfinished(self) -> bool:
        return self._current.of is None or self._current.done < self._current.of

    @property
    def phase_left(self) -> float | None:
        """Return the time that the present phase takes from now on, s; None while it cannot be told."""
        left = self._current.left(None)
        return None if left is None else max(0.0, left - (time.monotonic() - self._since))

    @property
    def share(self) -> float | None:
        """Return the share of the expected work that is done, 0..1; None while it cannot be told."""
        left, spent = self.seconds_left, sum(phase.seconds for phase in self.phases)
        earlier = sum((phase.done - phase.measured) * self._each(phase) for phase in self.phases)
        whole = None if left is None else spent + earlier + left
        return None if not whole or left is None else 1 - left / whole

    def _each(self, phase: Phase) -> float:
        return phase.seconds / phase.measured if phase.measured else 0.0

    def data(self) -> dict[str, object]:
        """Return the content of status.json."""
        phase, left, share = self._current, self.seconds_left, self.share
        ended = self.state != RUNNING
        return {
            "command": self.command,
            "title": self.title,
            "state": self.state,
            "message": self.message,
            "phase": phase.name,
            "step": phase.done,
            "of": phase.of,
            "rate": round(phase.measured / phase.seconds, 3) if phase.seconds else None,
            "seconds_left": None if left is None or ended else round(left, 1),
            "phase_seconds_left": None if self.phase_left is None or ended else round(self.phase_left, 1),
            "share": 1.0 if self.state == FINISHED else None if share is None else round(share, 4),
            "numbers": {name: round(value, 6) for name, value in self.numbers.items()},
            "phases": [
                {"name": p.name, "step": p.done, "of": p.of, "seconds": round(p.seconds, 1)} for p in self.phases
            ],
            "host": socket.gethostname(),
            "process": os.getpid(),
            "started": self._begun.isoformat(timespec="seconds"),
            "updated": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }

    def _write(self) -> None:
        self._written = time.monotonic()
        if self.path is None:
            return
        # Not `files.replacing`: a disk that is asked to flush every two seconds is a slow one.
        temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps(self.data(), indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, self.path)


@contextmanager
def ending(status: Status) -> Iterator[Status]:
    """Yield `status`; write how the block ended: finished, stopped by a signal, or failed and why."""
    try:
        yield status
    except BaseException as error:
        stopped = isinstance(error, (Interrupted, InterruptedByKeyboard)) or not isinstance(error, Exception)
        first = next(iter(str(getattr(error, "message", error)).strip().splitlines()), type(error).__name__)
        status.end(STOPPED if stopped else FAILED, first)
        raise
    status.end(FINISHED)


@dataclass(frozen=True)
class Found:
    """A status.json that was read: its path and content, and whether its process is known to be gone."""

    path: Path
    data: Mapping[str, object]
    gone: bool

    @property
    def running(self) -> bool:
        """Return True if its process is at work, as far as can be told from here."""
        return self.data.get("state") == RUNNING and not self.gone


def find_statuses(places: Sequence[Path]) -> list[Found]:
    """Return every readable status.json in and below `places`, the newest first."""
    paths = dict.fromkeys(path for place in places for path in _below(place))
    found = [status for path in paths if (status := read_status(path)) is not None]
    return sorted(found, key=lambda status: str(status.data.get("updated")), reverse=True)


def read_status(path: Path) -> Found | None:
    """Return the status in a file; None if there is none or it cannot be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or "phase" not in data or "state" not in data:
        return None
    return Found(path, data, _gone(data))


def _below(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, names, files in os.walk(place):
        # Folders of clips and checkpoints may hold millions of files, and no status.
        names[:] = [name for name in names if name not in ("checkpoints", "clips", "cache", "decoded")]
        yield from (Path(folder) / name for name in files if name == STATUS_NAME or name.endswith(f".{STATUS_NAME}"))


def _gone(data: Mapping[str, object]) -> bool:
    """Return True if the process was one of this host and is no longer there."""
    number = data.get("process")
    if data.get("host") != socket.gethostname() or not isinstance(number, int) or number <= 0:
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        return False
    return False
