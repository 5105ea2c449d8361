"""A recipe on the demo data: its rows and labels, with the sizes of the demo's recipe.

What makes a row the row it is (every key in its `set`) and what the task's overlay keeps stay; everything that the
overlay takes becomes the demo's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from asgmcli.errors import RecipeError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import assign, check_recipe, check_section, load_recipe, override, read_yaml
from asgmcli.recipe.sections import ON_DEMO, Name, Section
from asgmcli.recipe.shipped import find_beside

FLAG = "--on-demo"
FOLDER = "on_demo"
"""Beside the recipes, or shipped: an overlay a task, named after it."""


class Sizes(Section):
    """Keys and their values, and numbers that a key may have at most, with which a recipe goes on the demo data."""

    set: dict[str, object] = Field(default_factory=dict)
    at_most: dict[str, int] = Field(default_factory=dict)


class Overlay(Sizes):
    """The changes that scale a task's recipes down to the demo data.

    `take` are keys taken from the recipe `recipe`, `keep` keys among them that keep the large recipe's value. The row's
    own settings come next, then `set`; a number at a key of `at_most` is lowered to it. `instead` names, for recipes
    that a row starts from and their rows, those of the demo; `set` leaves such a start of a row. `recipes` has more of
    `set` and `at_most` for single recipes.
    """

    recipe: Name
    take: list[str]
    keep: list[str] = Field(default_factory=list)
    instead: dict[str, str] = Field(default_factory=dict)
    recipes: dict[Name, Sizes] = Field(default_factory=dict)


@dataclass(frozen=True)
class RecipeFile:
    """A recipe's file, and whether its rows run on the demo data.

    `all_rows`: overrides are of all rows. One that does nothing in a row is passed over there.
    """

    path: Path
    on_demo: bool = False
    all_rows: bool = False

    def load(self, row: str | None = None, overrides: tuple[str, ...] = (), seed: int | None = None) -> Recipe:
        """See `load_recipe`.

        Raises:
            RecipeError: see there; or the recipe has no small form.
        """
        if self.on_demo:
            return load_on_demo(self.path, row, overrides, seed, lenient=self.all_rows)
        return load_recipe(self.path, row, overrides, seed, lenient=self.all_rows)

    def check_overrides(self, overrides: tuple[str, ...]) -> None:
        """See that each of `overrides` does something in a row at least.

        Raises:
            RecipeError: one does nothing in any.
        """
        alone = replace(self, all_rows=False)
        faults = []
        for row in self.load(None, overrides).runnable if overrides else ():
            try:
                alone.load(row, overrides)
                return
            except RecipeError as error:
                faults.append(error.message)
        if any(all(f"--set {text}: " in fault for fault in faults) for text in overrides if faults):
            raise RecipeError(faults[0])

    @property
    def flags(self) -> list[str]:
        """Return the options that make a command read the file the same way."""
        return [FLAG] if self.on_demo else []


def load_on_demo(
    path: Path,
    row: str | None = None,
    overrides: tuple[str, ...] = (),
    seed: int | None = None,
    *,
    lenient: bool = False,
) -> Recipe:
    """Load the recipe in `path` on the demo data: without the paper's numbers, under the name <recipe>@demo.

    Raises:
        RecipeError: the recipe, its task's overlay or the small recipe cannot be read, there is no such overlay, or the
            recipe is the demo's already.
    """
    large = load_recipe(path, row, with_idle=True)
    beside = find_beside(path.parent, f"{FOLDER}/{large.task}")
    if not beside.exists():
        raise RecipeError(f"{path}: a {large.task} recipe has no small form ({beside}); leave {FLAG} out.")
    overlay = check_section(read_yaml(beside), beside, Overlay)
    small = load_recipe(find_beside(path.parent, overlay.recipe), with_idle=True)
    values, whole, sizes = large.model_dump(mode="json"), large.model_dump(mode="json"), small.model_dump(mode="json")
    if values["data"]["dataset"] == sizes["data"]["dataset"]:
        raise RecipeError(f"{path}: these are runs on the demo data already; leave {FLAG} out.")
    for keys, source in ((overlay.take, sizes), (overlay.keep, whole)):
        for key in keys:
            assign(values, key, _value(source, key), str(beside))
    own = large.rows[large.default_row].set
    started = {key for key, value in own.items() if isinstance(value, dict) and value.get("recipe") in overlay.instead}
    alone = overlay.recipes.get(large.name, Sizes())
    changes = {key: value for key, value in {**overlay.set, **alone.set}.items() if key not in started}
    for key, value in {**own, **changes}.items():
        assign(values, key, value, str(path))
    for key, most in {**overlay.at_most, **alone.at_most}.items():
        assign(values, key, min(_value(values, key), most), str(beside))
    values = _with_other_recipes(values, overlay.instead)
    values |= {
        "name": f"{large.name}{ON_DEMO}",
        "title": f"{large.title}, on the demo data",
        "cost": "",
        "runs_of": None if large.runs_of is None else f"{large.runs_of}{ON_DEMO}",
        "rows": {name: row.model_copy(update={"paper": {}}).model_dump() for name, row in large.runnable.items()},
    }
    named = override(values, overrides, seed)
    return check_recipe(values, path, named=() if lenient else named)


def _with_other_recipes(values: object, instead: dict[str, str]) -> Any:
    """Return nested `values` in which every `recipe` and `row` of a source that `instead` names is the other one."""
    if isinstance(values, list):
        return [_with_other_recipes(value, instead) for value in values]
    if not isinstance(values, dict):
        return values
    found = {}
    for key, value in values.items():
        if key in ("recipe", "row") and isinstance(value, str):
            found[key] = instead.get(value, value)
        else:
            found[key] = value if key == "rows" else _with_other_recipes(value, instead)
    return found


def _value(values: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        values = values[part]
    return values


def number_of(recipe: Recipe, dotted: str) -> float:
    """Return the number that `recipe` has at a dotted key.

    Raises:
        RecipeError: there is no such key, or no number there.
    """
    try:
        value = _value(recipe.model_dump(), dotted)
    except (KeyError, TypeError):
        raise RecipeError(f"recipe {recipe.name}: figure.key {dotted!r} is not one of its keys") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"recipe {recipe.name}: figure.key {dotted!r} is {value!r} in a row, not a number")
    return float(value)
