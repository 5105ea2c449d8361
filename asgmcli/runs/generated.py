"""Generate the data sets that a recipe needs and that can be made here."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from asgmcli.errors import DataError, RecipeError
from asgmcli.prepare.source import how_to_prepare, is_generated, manifest_path
from asgmcli.progress import tracked
from asgmcli.recipe.sections import Data
from asgmcli.synthetic import generator_of
from asgmcli.synthetic.making import SETTINGS_NAME


def ensure_prepared(data: Data, console: Console) -> None:
    """Generate the data set of `data` if it can be generated and does not exist with its options.

    Raises:
        DataError: it is missing and lies on no disk yet, or another version made it.
        RecipeError: options that its generator does not have.
    """
    path = manifest_path(data)
    if data.manifest is not None:
        return
    if path.exists():
        _check_world(data, path.parent)
        if not data.options:
            return
    if not is_generated(data):
        raise DataError(f"{path}: the data set is not prepared. {how_to_prepare(data)}")
    module = generator_of(data.dataset)
    check_options(data)
    if not path.exists():
        console.print(f"{path.parent}: generating the data set {data.dataset} (a minute or two, once).")
    with tracked(console, f"making {data.dataset}", "prepare", path.parent) as progress:
        module.generate(path.parent, **data.options, progress=progress)


def check_options(data: Data) -> None:
    """Check that the generator of `data` has its options. Folders are for the command line, not for a recipe.

    Raises:
        RecipeError: it does not have one, or one of another type.
    """
    kinds = {str(option.name): option.type for option in generator_of(data.dataset).OPTIONS} | {"seed": click.INT}
    known = {name: kind for name, kind in kinds.items() if not isinstance(kind, click.Path)}
    wrong = sorted(key for key, value in data.options.items() if not _fits(known.get(key), value))
    if wrong:
        names = ", ".join(f"{key} ({'whole number' if _is_whole(kind) else 'number'})" for key, kind in known.items())
        folders = "".join(
            f". {key} names a folder: asgm prepare {data.dataset} --{key} DIR, and data.manifest for its manifest.csv"
            for key in wrong
            if key in kinds and key not in known
        )
        raise RecipeError(f"data.options: {', '.join(wrong)}: {data.dataset} takes {names}{folders}")


def _check_world(data: Data, folder: Path) -> None:
    """See that what is there was made as `MARK` of its generator says, where there is such a mark."""
    mark: dict[str, object] = getattr(generator_of(data.dataset), "MARK", {}) if is_generated(data) else {}
    marker = folder / SETTINGS_NAME
    if mark and marker.exists():
        try:
            found = dict(json.loads(marker.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            found = {}
        if any(found.get(name) != value for name, value in mark.items()):
            raise DataError(
                f"{folder} holds the {data.dataset} of an earlier version, which is another data set. "
                f"{how_to_prepare(data)} --overwrite"
            )


def _fits(kind: click.ParamType[object] | None, value: object) -> bool:
    if kind is None or isinstance(value, bool) or (_is_whole(kind) and not isinstance(value, int)):
        return False
    try:
        kind.convert(value, None, None)
    except click.BadParameter:
        return False
    return True


def _is_whole(kind: object) -> bool:
    return isinstance(kind, click.IntRange) or kind is click.INT
