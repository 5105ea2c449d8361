"""A start for small networks: telling shapes, motions, timbres and envelopes apart that no later task uses."""

from pathlib import Path

import torch

from asgmcli.errors import UsageError
from asgmcli.recipe.base import Recipe
from asgmcli.tasks.pretext.cost import COPIES, count, needs, network
from asgmcli.tasks.pretext.data import build_data
from asgmcli.tasks.pretext.evaluate import evaluate
from asgmcli.tasks.pretext.model import build_state
from asgmcli.tasks.pretext.step import train_step
from asgmcli.train.cost import nothing_decoded as decoded
from asgmcli.train.cost import nothing_expected as expected
from asgmcli.train.task import Trained
from asgmcli.train.task import nothing_before as before

__all__ = [
    "COPIES",
    "WEIGHTS",
    "before",
    "build_data",
    "build_state",
    "count",
    "decoded",
    "evaluate",
    "expected",
    "load",
    "needs",
    "network",
    "owns",
    "train_step",
]

WEIGHTS = ""


def owns(path: Path) -> bool:
    """Return False: a start is used by the recipes that name it."""
    return False


def load(path: Path, recipe: Recipe | None, device: torch.device) -> Trained:
    """Refuse: a start answers nothing by itself.

    Raises:
        UsageError: always.
    """
    raise UsageError(f"{path}: a start for other runs has no answers of its own; its result.json says what it learnt.")
