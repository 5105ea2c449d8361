"""A trained encoder names no events: the recipes that build on it do."""

from __future__ import annotations

from pathlib import Path

import torch

from asgmcli.errors import UsageError
from asgmcli.nn.state import read_metadata
from asgmcli.recipe.base import Recipe
from asgmcli.train.task import Trained
from asgmcli.train.weights import ENCODER_FORMAT


def owns(path: Path) -> bool:
    """Return True for the encoder of an event_representation run."""
    return read_metadata(path).get("format") == ENCODER_FORMAT


def load(path: Path, recipe: Recipe | None, device: torch.device) -> Trained:
    """Refuse.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"{path}: an encoder names no events; what its probes measured is in the run's result.json. Train an "
        "event_localization recipe on it, and ask that run."
    )
