"""Shipped recipes: by name, behind a path, beside a copy, and the nearest where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.errors import RecipeError
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.shipped import find_beside, find_recipe, nearest_recipe, shipped, spoken

RECIPES = Path(__file__).parents[2] / "recipes"


def test_all_recipes_of_the_repository_are_shipped_by_name() -> None:
    assert shipped() == {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}
    assert len(shipped()) > 20


def test_a_name_means_a_shipped_recipe_and_a_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe(Path("demo")) == RECIPES / "demo.yaml"
    assert find_recipe(Path("sub/demo")) == Path("sub/demo")
    assert find_recipe(Path("nothing")) == Path("nothing")
    Path("demo").mkdir()  # a folder is no recipe
    assert find_recipe(Path("demo")) == RECIPES / "demo.yaml"
    Path("demo").rmdir()
    Path("demo").write_text("name: mine\n")
    assert find_recipe(Path("demo")) == Path("demo")


def test_what_a_recipe_needs_lies_beside_it_or_is_shipped(tmp_path: Path) -> None:
    assert find_beside(tmp_path, "demo_pretext") == RECIPES / "demo_pretext.yaml"
    assert find_beside(tmp_path, "gone") == tmp_path / "gone.yaml"
    own = tmp_path / "demo_pretext.yaml"
    own.write_text("")
    assert find_beside(tmp_path, "demo_pretext") == own


def test_a_shipped_recipe_is_called_by_its_name() -> None:
    assert spoken(RECIPES / "demo.yaml") == "demo"
    assert spoken(Path("recipes/demo.yaml")) == "recipes/demo.yaml"
    assert spoken(Path("mine.yaml")) == "mine.yaml"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("demoo", "(did you mean 'demo'?)"),
        ("demo.yml", "(did you mean 'demo'?)"),
        ("table2_ablations", "(did you mean 'table2_ablation'?)"),
        ("recipes/demo.yaml", "(did you mean 'demo'?)"),
        ("mien.yaml", "(did you mean 'mine.yaml'?)"),
        ("sub/other.yaml", "(did you mean 'sub/another.yaml'?)"),
        ("sub/demo_pretxt.yaml", "(did you mean 'demo_pretext'?)"),
        ("xyzzyx", "no such recipe; `asgm recipes` lists"),
    ],
)
def test_a_recipe_that_is_not_there_is_answered_with_the_nearest(
    given: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("sub/another.yaml").touch()
    Path("mine.yaml").touch()
    with pytest.raises(RecipeError) as error:
        load_recipe(Path(given))
    assert error.value.message.startswith(f"{given}: no such recipe")
    assert words in error.value.message
    assert "`asgm recipes` lists" in nearest_recipe(Path(given))
