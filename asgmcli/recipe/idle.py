"""Keys that do nothing beside a recipe's other settings: refused where asked for, else back at their default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from asgmcli.errors import RecipeError
from asgmcli.recipe.base import Recipe

R = TypeVar("R", bound=Recipe)
Named = tuple[str, str]
"""A dotted key that a user asks for, and where."""


def name_keys(key: str, value: object, where: str) -> Iterator[Named]:
    """Yield each key that setting `key` to `value` names; null asks for nothing."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from name_keys(f"{key}.{name}", inner, where)
    elif value not in (None, "none"):
        yield key.replace("losses.mixup.on", "losses.mixup.space"), where


def settle(recipe: R, named: Iterable[Named], source: Path) -> R:
    """Return `recipe` with every idle key at its default, so that rows that come out the same are the same.

    Raises:
        RecipeError: a key of `named` is idle, a line for each.
    """
    idle = recipe.idle()
    faults = []
    for key, where in named:
        why = next((reason for prefix, reason in idle.items() if f"{key}.".startswith(f"{prefix}.")), None)
        if why is not None:
            faults.append(f"  {where}: {key} does nothing in row {recipe.default_row!r}, where {why}: leave it out")
    if faults:
        raise RecipeError("\n".join([f"{source}: {len(faults)} fault(s)", *faults]))
    for dotted in idle:
        recipe = _reset(recipe, dotted.split("."))
    return recipe


def _reset(section: Any, path: list[str]) -> Any:
    """Return a copy of `section` in which the key at `path` has its default; itself where it has that already."""
    name, *rest = path
    value = getattr(section, name)
    if rest:
        new = _reset(value, rest) if isinstance(value, BaseModel) else value
    else:
        new = type(section).model_fields[name].get_default(call_default_factory=True)
    return section if new == value else section.model_copy(update={name: new})
