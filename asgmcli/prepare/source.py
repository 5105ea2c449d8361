"""Locate a recipe's manifest."""

from __future__ import annotations

import difflib
from pathlib import Path

from asgmcli.data.manifest import MANIFEST_NAME, Manifest, read_manifest
from asgmcli.errors import DataError
from asgmcli.prepare.datasets import DATASETS
from asgmcli.recipe.sections import Data
from asgmcli.synthetic import GENERATED, generator_of

DATA_FOLDER = Path("data")


def manifest_path(data: Data) -> Path:
    """Return `data.manifest`, or data/<dataset>/manifest.csv; a generated set's folder may be named by its options."""
    if data.manifest:
        return Path(data.manifest)
    name = generator_of(data.dataset).folder(data.options) if data.dataset in GENERATED else data.dataset
    return DATA_FOLDER / name / MANIFEST_NAME


def is_generated(data: Data) -> bool:
    """Return True if the data set can be made here, without a raw one."""
    return data.dataset in GENERATED and data.manifest is None


def open_manifest(data: Data) -> Manifest:
    """Open the recipe's manifest.

    Raises:
        DataError: it is missing (the message says how to make it) or faulty.
    """
    path = manifest_path(data)
    if not path.exists():
        raise DataError(f"{path}: no manifest here. {how_to_prepare(data)}")
    return read_manifest(path)


def how_to_prepare(data: Data) -> str:
    """Return what to type if the manifest of `data` is missing; an unknown name gets the closest known one."""
    # A manifest with a name of its own was made with options that only the recipe's author knows.
    where = f" --out {manifest_path(data).parent} and the options at the head of the recipe" if data.manifest else ""
    if data.dataset in GENERATED:
        options = "".join(f" --{name.replace('_', '-')} {value}" for name, value in data.options.items())
        return f"Make it: asgm prepare {data.dataset}{options}{'' if options else where}"
    if data.dataset in DATASETS:
        return f"Make it: asgm prepare {data.dataset} --root FOLDER{where}"
    close = difflib.get_close_matches(data.dataset, [*GENERATED, *DATASETS], n=1, cutoff=0.5)
    hint = f" (or is {data.dataset!r} a mistake? did you mean {close[0]!r}?)" if close else ""
    return f"Make it of your own clips: asgm prepare folder --root FOLDER --out {manifest_path(data).parent}{hint}"
