"""Count the clips and steps of a recipe's run, from the manifest or known before there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from asgmcli.data.manifest import Manifest
from asgmcli.data.size import Size
from asgmcli.errors import AsgmError
from asgmcli.prepare.datasets import DATASETS
from asgmcli.prepare.source import is_generated, manifest_path, open_manifest
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.sections import Data
from asgmcli.synthetic import generator_of
from asgmcli.tasks import DRAWERS, TASKS
from asgmcli.train.cost import Counts, Needs


@dataclass
class Counting:
    """Counts the clips of recipes; a manifest that several of them read is read once."""

    _manifests: dict[Path, Manifest] = field(default_factory=dict)

    def count(self, recipe: Recipe) -> Counts:
        """Return the counts from the existing manifest, without opening clips.

        Raises:
            DataError: no manifest, or too few clips of a kind.
        """
        if recipe.task in DRAWERS:
            DRAWERS[recipe.task].check(recipe)
            return Counts({"shown": 1}, 0, 0, 0)
        counts: Counts = TASKS[recipe.task].count(recipe, self._open)
        return counts

    def _open(self, data: Data) -> Manifest:
        path = manifest_path(data)
        if path not in self._manifests:
            self._manifests[path] = open_manifest(data)
        return self._manifests[path]


def expected(recipe: Recipe) -> Counts | None:
    """Return the counts `recipe` will have once its data are there; None if unknown.

    They are known for generated data, and for data sets whose official lists are used whole, as in the papers.
    """
    return None if recipe.task in DRAWERS else TASKS[recipe.task].expected(recipe, _size)


def needs(recipe: Recipe, classes: int) -> Needs | None:
    """Return the cost of training `recipe` on `classes` classes; None if nothing is trained."""
    if recipe.task in DRAWERS:
        return None
    with torch.device("meta"):
        found: Needs = TASKS[recipe.task].needs(recipe, classes)
    return found


def _size(data: Data) -> Size | None:
    if data.manifest is not None:
        return None  # of a list of the user's own
    if not is_generated(data):
        return getattr(DATASETS.get(data.dataset), "SIZE", None)
    try:
        found: Size = generator_of(data.dataset).size(data.options)
    except (TypeError, AsgmError):
        return None
    return found
