"""The labelled clips of recipes, drawn from manifests alone: what a reader needs to train on the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asgmcli.data.manifest import Manifest, ManifestRow, read_manifest
from asgmcli.data.split import labeled_subset
from asgmcli.errors import DataError
from asgmcli.files import write_text
from asgmcli.prepare.source import manifest_path
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.sections import LabeledSubset
from asgmcli.recipe.shipped import shipped

TABLES = "table1_"
"""Recipes of the six tables begin so: three data sets, at one and at five labels a class."""


@dataclass(frozen=True)
class LabelList:
    """The labelled clips of a recipe at one seed; `missing` says what its data set lacks, and then there are none."""

    recipe: str
    seed: int
    data: LabeledSubset
    manifest: Manifest | None = None
    clips: tuple[ManifestRow, ...] = ()
    missing: str = ""

    @property
    def text(self) -> str:
        """Return a line a clip: its id and its class."""
        return "".join(f"{row.id} {row.label}\n" for row in self.clips)

    @property
    def sha256(self) -> str:
        """Return the hash of `text`, by which two people see that they have the same clips."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def label_lists(seeds: Sequence[int]) -> Iterator[LabelList]:
    """Yield the labelled clips of each of the six tables' recipes at each of `seeds`."""
    for name, path in sorted(shipped().items()):
        if not name.startswith(TABLES):
            continue
        data = next(data for data in load_recipe(path).data_sets() if isinstance(data, LabeledSubset))
        for seed in seeds:
            yield _draw(name, seed, data)


def _draw(recipe: str, seed: int, data: LabeledSubset) -> LabelList:
    try:
        manifest = read_manifest(manifest_path(data))
        rows = manifest.of_split(data.train_split)
        own = seed if data.split_seed is None else data.split_seed
        clips = labeled_subset(rows, data.labeled_per_class or 1, own, manifest.classes)
    except DataError as error:
        return LabelList(recipe, seed, data, missing=error.message)
    return LabelList(recipe, seed, data, manifest, tuple(clips))


def write_label_list(found: LabelList, folder: Path) -> Path:
    """Write `text` to `folder` under the recipe's name and seed, and return the file."""
    path = folder / f"{found.recipe}_seed{found.seed}.txt"
    write_text(path, found.text)
    return path
