"""Changes to how a trained network answers: its recipe's keys that training does not read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from asgmcli.errors import RecipeError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import check_recipe, override

R = TypeVar("R", bound=Recipe)
SECTIONS = ("evaluate", "predict")


def with_changes(recipe: R, overrides: tuple[str, ...]) -> R:
    """Return `recipe` with `key.path=value` strings applied, all of its sections `evaluate` and `predict`.

    Raises:
        RecipeError: a key of another section, which is settled once a network is trained; or an unknown, mistyped or
            impossible one.
    """
    for text in overrides:
        if text.strip().partition(".")[0] not in SECTIONS:
            raise RecipeError(
                f"--set {text}: the network is trained; only keys of {' and '.join(SECTIONS)} change its answers"
            )
    if not overrides:
        return recipe
    values = recipe.model_dump(mode="json")
    named = override(values, overrides)
    return check_recipe(values, Path("--set"), type(recipe), named=named)
