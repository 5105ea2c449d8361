"""Whether this process is one of several that train together, as torchrun tells those that it starts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from asgmcli.errors import AsgmError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# Under torchrun itself, which ends the other processes where one has ended.
WATCHED = "TORCHELASTIC_RUN_ID"
# How often torchrun has started this machine's processes before (--max-restarts).
ATTEMPT = "TORCHELASTIC_RESTART_COUNT"


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
    """What the environment says; one process alone where the launcher's variables are not all there."""
    try:
        rank, ranks, local = (int(os.environ[name]) for name in VARIABLES[:3])
    except (KeyError, ValueError):
        return Launch()
    return Launch(rank, ranks, local) if ranks > 1 and all(os.environ.get(name) for name in VARIABLES) else Launch()


def quiet_torch() -> None:
    """Keep torch's own log of lost connections, pages of its source's addresses, to itself; to be called before torch
    is imported."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


@contextmanager
def one_voice(launch: Launch) -> Iterator[None]:
    """For what all processes of a machine find wrong alike: the first of them says it, the others end in silence."""
    try:
        yield
    except AsgmError as error:
        if launch.local:
            raise click.exceptions.Exit(error.exit_code) from None
        raise


@contextmanager
def unhurried_end(launch: Launch) -> Iterator[None]:
    """Let a process that is one of several end with its own exit code: a launcher signals those that end after others
    did."""
    try:
        yield
    finally:
        if launch.several:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


def own_environment() -> dict[str, str]:
    """The environment for a process that is to train alone, whoever starts it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in VARIABLES and not name.startswith("TORCHELASTIC_")
    }
