"""The console that commands print to: every line whole, every text unchanged."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress


def make_console(*, stderr: bool = True, quiet: bool = False, file: IO[str] | None = None) -> Console:
    """Return the console that a command prints to.

    Lines are not folded, so that paths and numbers can be copied whole. Brackets and colons in names are text, neither
    markup nor emoji. Tables fold to the width (`asgmcli.report.table`).

    Args:
        stderr: print to standard error.
        quiet: print nothing.
        file: print here instead.
    """
    return Console(stderr=stderr, quiet=quiet, file=file, soft_wrap=True, markup=False, emoji=False, highlight=False)


def progress_bar(
    console: Console, *fields: str, counted: bool = True, width: int = 40, transient: bool = False
) -> Progress:
    """Return a bar with the time left, shown on a terminal alone; a log or a pipe gets nothing of it.

    Args:
        console: where it is drawn.
        fields: names of task fields whose text stands behind the bar.
        counted: show "3/7" rather than "43%".
        width: columns of the bar itself.
        transient: wipe it out at the end.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=width),
        MofNCompleteColumn() if counted else TaskProgressColumn(),
        TimeRemainingColumn(),
        *(TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in fields),
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    )
