"""A recipe on the demo data: its rows and labels, with the sizes of recipes/demo.yaml.

What makes a row the row it is (modality, kind of threshold and mask, every key in its `set`) and the labels a class
stay. Data, clips, networks, localizer, views and training become the demo's, and so do the numbers that were found for
networks of that size: the threshold's value and the weights of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asgmcli.errors import RecipeError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.masks import MasksRecipe
from asgmcli.recipe.read import assign, check_recipe, load_recipe, override
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.sections import ON_DEMO
from asgmcli.recipe.shipped import find_beside

FLAG = "--on-demo"
# The recipe, beside the one that is to run or shipped, whose sizes are taken.
SMALL = {"recognition": "demo", "localization": "demo_localizer", "masks": "demo"}
# What is taken from it, by task.
TAKEN = {
    "recognition": (
        "data",
        "clip",
        "audio",
        "augment",
        "model.video",
        "model.audio",
        "model.fusion",
        "model.mean",
        "model.std",
        "localizer",
        "thresholds.value",
        "losses.unlabeled",
        "losses.mixup.weight",
        "losses.mixup.on",
        "losses.contrastive",
        "evaluate",
        "train",
    ),
    "localization": ("data", "model", "input", "losses", "evaluate", "flip", "train"),
    "masks": ("data", "localizer"),
}
# What of the data is the recipe's own.
LABELS = ("data.labeled_per_class", "data.split_seed")


@dataclass(frozen=True)
class RecipeFile:
    """A recipe's file, and whether its rows run on the demo data."""

    path: Path
    on_demo: bool = False

    def load(self, row: str | None = None, overrides: tuple[str, ...] = (), seed: int | None = None) -> Recipe:
        """See `load_recipe`.

        Raises:
            RecipeError: see there; or the recipe has no small form.
        """
        if self.on_demo:
            return load_on_demo(self.path, row, overrides, seed)
        return load_recipe(self.path, row, overrides, seed)

    @property
    def flags(self) -> list[str]:
        """The options that make a command read the file the same way."""
        return [FLAG] if self.on_demo else []


def load_on_demo(
    path: Path, row: str | None = None, overrides: tuple[str, ...] = (), seed: int | None = None
) -> Recipe:
    """The recipe in `path` on the demo data: without the paper's numbers, under the name <recipe>@demo.

    Raises:
        RecipeError: the recipe, or the small one beside it, cannot be read, or the recipe is the demo's or a start's.
    """
    large = load_recipe(path, row)
    if large.task not in SMALL:
        raise RecipeError(f"{path}: a {large.task} recipe generates its own clips; leave {FLAG} out.")
    beside = find_beside(path.parent, SMALL[large.task])
    small = load_recipe(beside)
    values, sizes = large.model_dump(mode="json"), small.model_dump(mode="json")
    if values["data"]["dataset"] == sizes["data"]["dataset"]:
        raise RecipeError(f"{path}: these are runs on the demo data already; leave {FLAG} out.")
    own = large.rows[large.default_row].set
    for key in TAKEN[large.task]:
        assign(values, key, _value(sizes, key), str(beside))
    if isinstance(large, RecognitionRecipe):
        for key in LABELS:
            assign(values, key, _value(large.model_dump(mode="json"), key), str(path))
    for key, value in own.items():
        assign(values, key, value, str(path))
    _fit(values, large, small)
    values |= {
        "name": f"{large.name}{ON_DEMO}",
        "title": f"{large.title}, on the demo data",
        "cost": "",
        "rows": {name: row.model_copy(update={"paper": {}}).model_dump() for name, row in large.runnable.items()},
    }
    override(values, overrides, seed)
    return check_recipe(values, path)


def _fit(values: dict[str, Any], large: Recipe, small: Recipe) -> None:
    """What a small clip leaves no room for: eight averaged maps of two, 14 tokens a side, a class it has not."""
    if isinstance(large, RecognitionRecipe):
        times = values["clip"]["frames"] // values["model"]["video"]["tubelet"]
        values["masks"]["average_frames"] = min(values["masks"]["average_frames"], times)
    elif isinstance(large, MasksRecipe) and isinstance(small, RecognitionRecipe):
        values["grid"] = small.clip.size // small.model.video.patch_size
        values["example"]["label"] = None


def _value(values: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        values = values[part]
    return values


def number_of(recipe: Recipe, dotted: str) -> float:
    """The number that `recipe` has at a dotted key.

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
