"""The losses' keys: their old names, and what tools of YAML 1.1 make of the new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from asgmcli.recipe.read import dump_yaml, recipe_hash
from tests.recipe.test_read import GOOD, fault, load

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("old", ["on", "'on'", "true"])
def test_the_old_name_of_the_mixtures_space_is_read(tmp_path: Path, old: str) -> None:
    text = GOOD.replace("space:", f"{old}:")
    recipe = load(tmp_path, text=text)
    assert recipe.losses.mixup.space == "probabilities"
    assert recipe_hash(recipe) == recipe_hash(load(tmp_path))
    # The new name wins over the file's old one, and the other way round: what is said last counts.
    assert load(tmp_path, None, ("losses.mixup.space=logits",), text=text).losses.mixup.space == "logits"
    assert load(tmp_path, None, ("losses.mixup.on=logits",)).losses.mixup.space == "logits"
    assert load(tmp_path, None, ("losses.mixup={on: logits, weight: 1.0}",)).losses.mixup.space == "logits"
    stored = dump_yaml(recipe)
    assert yaml.safe_load(stored)["losses"]["mixup"]["space"] == "probabilities"  # by a tool of YAML 1.1
    both = text.replace("probabilities}", "probabilities, space: logits}")
    assert "losses.mixup: space and its old name, on, are both given" in fault(tmp_path, both)


def test_no_key_of_a_shipped_recipe_is_another_one_in_yaml_1_1() -> None:
    for path in sorted(RECIPES.glob("*.yaml")):
        keys = list(_keys(yaml.safe_load(path.read_text(encoding="utf-8"))))
        assert len(keys) > 5
        assert all(isinstance(key, str) for key in keys), path


def _keys(values: object) -> Iterator[object]:
    for key, value in values.items() if isinstance(values, dict) else ():
        yield key
        yield from _keys(value)
