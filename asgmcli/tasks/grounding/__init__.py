"""Grounding pretraining: contextual tokens of sound and picture, learnt from which seconds are of one scene."""

from pathlib import Path

import torch

from asgmcli.errors import UsageError
from asgmcli.recipe.base import Recipe
from asgmcli.tasks.grounding.cost import COPIES, count, needs, network
from asgmcli.tasks.grounding.data import build_data
from asgmcli.tasks.grounding.model import build_state, evaluate, train_step
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
    """Return False: tokens are used by the recipes that name their run."""
    return False


def load(path: Path, recipe: Recipe | None, device: torch.device) -> Trained:
    """Refuse: tokens answer nothing by themselves.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"{path}: a grounding run has no answer for a clip. A parsing recipe starts from it (model.init), and answers."
    )
