"""Progress of a piece of work: a bar on a terminal, whole lines elsewhere, status.json beside its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from asgmcli.console import progress_bar
from asgmcli.status import STATUS_NAME, Phase, Status, ending

LINE_SECONDS = 10.0
"""Time between two lines where there is no terminal, s."""


def spoken_time(seconds: float | None) -> str:
    """Return a duration as a person says it: `40 s`, `12 min`, `3 h 20 min`, `2 days 4 h`; `?` if unknown."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def left_of(status: Status) -> str:
    """Return the time left in words: over all phases, else in this one."""
    left, phase = status.seconds_left, status.phase_left
    if left is None and phase is not None:
        return f"about {spoken_time(phase)} left in this phase"
    return f"about {spoken_time(left)} left"


@contextmanager
def tracked(
    console: Console,
    title: str,
    command: str,
    folder: Path | None = None,
    *,
    beside: Path | None = None,
    later: Sequence[str] = (),
    transient: bool = False,
) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback that is told the items done and all items.

    Args:
        console: a terminal gets a bar, a log a line every `LINE_SECONDS` with the rate and the time left.
        title: of the work.
        command: that status.json names.
        folder: where status.json is kept; it is not touched before the first call.
        beside: a file that is being written; FILE.status.json is kept beside it instead.
        later: phases that come after it, whose size is unknown.
        transient: wipe the bar out at the end.
    """
    status = Status(None, command, title, [Phase(title, None), *(Phase(name, None) for name in later)])
    status.begin(title)
    said = time.monotonic()
    with progress_bar(console, "rate", transient=transient) as bar, ending(status):
        task = bar.add_task(title, total=None, rate="")
        begun = False

        def tell(done: int, total: int) -> None:
            nonlocal begun, said
            if not begun:
                status.path = folder / STATUS_NAME if folder is not None and folder.is_dir() else None
                if beside is not None:
                    status.path = beside.with_name(f"{beside.name}.{STATUS_NAME}")
                status.phases[0].of = total
                if done > 1:  # what an earlier process has done does not count for the rate
                    status.begin(title, done=done)
                begun = True
            status.step(done)
            rate = status.data()["rate"]
            speed = f"{rate:.3g}/s" if isinstance(rate, float) else ""
            bar.update(task, completed=done, total=total, rate=speed)
            now = time.monotonic()
            if not console.is_terminal and now - said > LINE_SECONDS:
                said = now
                console.print(", ".join(filter(None, (f"{title}: {done} of {total}", speed, left_of(status)))))

        yield tell
