"""The console that commands print to: every line whole, every text unchanged."""

from __future__ import annotations

from typing import IO

from rich.console import Console


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
