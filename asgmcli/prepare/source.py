"""Where a recipe's manifest lies."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asgmcli.data.manifest import MANIFEST_NAME, Manifest, read_manifest
from asgmcli.errors import DataError
from asgmcli.prepare.datasets import DATASETS
from asgmcli.recipe.sections import Data

DATA_FOLDER = Path("data")
DEMO = "demo"


def manifest_path(data: Data) -> Path:
    """`data.manifest`, or data/<dataset>/manifest.csv; a biased demo's folder bears its bias and seed."""
    if data.manifest:
        return Path(data.manifest)
    name = demo_name(data.options) if data.dataset == DEMO else data.dataset
    return DATA_FOLDER / name / MANIFEST_NAME


def demo_name(options: Mapping[str, Any]) -> str:
    """The demo's folder: `demo`, or such as `demo_bias0.7_seed3` where its scenes are biased."""
    bias = options.get("scene_bias")
    return DEMO if bias is None else f"{DEMO}_bias{bias:g}_seed{options.get('seed', 0)}"


def open_manifest(data: Data) -> Manifest:
    """The recipe's manifest.

    Raises:
        DataError: it is missing (the message says how to make it) or faulty.
    """
    path = manifest_path(data)
    if not path.exists():
        raise DataError(f"{path}: no manifest here. {how_to_prepare(data)}")
    return read_manifest(path)


def how_to_prepare(data: Data) -> str:
    """What to type where the manifest of `data` is missing; a name that no command prepares may be mistyped."""
    # A manifest with a name of its own was made with options that only the recipe's author knows.
    where = f" --out {manifest_path(data).parent} and the options at the head of the recipe" if data.manifest else ""
    if data.dataset == DEMO:
        options = "".join(f" --{name.replace('_', '-')} {value}" for name, value in data.options.items())
        return f"Make it: asgm prepare {DEMO}{options}{'' if options else where}"
    if data.dataset in DATASETS:
        return f"Make it: asgm prepare {data.dataset} --root FOLDER{where}"
    close = difflib.get_close_matches(data.dataset, [DEMO, *DATASETS], n=1, cutoff=0.5)
    hint = f" (or is {data.dataset!r} a mistake? did you mean {close[0]!r}?)" if close else ""
    return f"Make it of your own clips: asgm prepare folder --root FOLDER --out {manifest_path(data).parent}{hint}"
