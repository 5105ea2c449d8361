"""Whether this process is one of several that train together, as torchrun tells those that it starts."""

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
PARTING_S = 1.0  # for the first to tell its error: torchrun ends all once one has ended


@dataclass(frozen=True)
class Launch:
    """This process's number among `ranks`, and among those on its machine."""

    rank: int = 0
    ranks: int = 1
    local: int = 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.ranks > 1


def find_launch() -> Launch:
    """Return what the environment says; one process alone where no launcher has set it."""
    try:
        return Launch(*(int(os.environ[name]) for name in VARIABLES[:3]))
    except (KeyError, ValueError):
        return Launch()


@contextmanager
def one_voice(launch: Launch) -> Iterator[None]:
    """Let the first of several processes tell what all meet alike, and each end with its own exit code.

    What may be wrong on one machine alone, with its data, is told by whichever process meets it.
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
    """Return the environment for a process that is to train alone, whoever starts it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in VARIABLES and not name.startswith("TORCHELASTIC_")
    }
