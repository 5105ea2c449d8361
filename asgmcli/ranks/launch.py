"""Detect the launch: this process alone, or one of several that torchrun started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from asgmcli.errors import AsgmError, DataError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
PARTING_S = 1.0  # time for the first to report its error: torchrun ends all once one has ended


@dataclass(frozen=True)
class Launch:
    """This process's rank among `ranks`, and among those on its machine."""

    rank: int = 0
    ranks: int = 1
    local: int = 0

    @property
    def several(self) -> bool:
        """Return True if there is more than one rank."""
        return self.ranks > 1


def find_launch() -> Launch:
    """Return the launch that the environment describes; a single process without a launcher."""
    try:
        return Launch(*(int(os.environ[name]) for name in VARIABLES[:3]))
    except (KeyError, ValueError):
        return Launch()


@contextmanager
def one_voice(launch: Launch) -> Iterator[None]:
    """Let only the first rank report an error that all ranks share; each exits with its own code.

    Errors that may concern one machine, with its data, are reported by whichever process meets them.
    """
    try:
        yield
    except (AsgmError, click.exceptions.Exit) as error:
        if launch.rank and not isinstance(error, DataError):
            time.sleep(PARTING_S)
            raise click.exceptions.Exit(error.exit_code) from None
        raise
    finally:
        if launch.several:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun signals those that end after another did


def own_environment() -> dict[str, str]:
    """Return the environment for a child process that trains alone."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in VARIABLES and not name.startswith("TORCHELASTIC_")
    }
