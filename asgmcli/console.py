"""Where the commands speak to a person: every line whole, every text as it is."""

from __future__ import annotations

from typing import IO

from rich.console import Console


def make_console(*, stderr: bool = True, quiet: bool = False, file: IO[str] | None = None) -> Console:
    """Return the console that a command prints to; every module that prints is given one of these.

    A line is as long as it is: a terminal folds it where it ends, and a path or a number that is copied, or read from a
    log, is whole. Brackets and colons in a name are text, neither markup nor emoji. Tables fold to the width
    (`asgmcli.report.table`).

    Args:
        stderr: print to standard error, else to standard output.
        quiet: print nothing.
        file: print there instead.
    """
    return Console(stderr=stderr, quiet=quiet, file=file, soft_wrap=True, markup=False, emoji=False, highlight=False)
