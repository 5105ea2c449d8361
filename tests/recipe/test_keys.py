"""The list of every key that recipes know, and the page and schema made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asgmcli.errors import UsageError
from asgmcli.recipe.keys import find_keys, json_schema, list_keys, recipes_page
from asgmcli.recipe.read import read_yaml
from asgmcli.recipe.shipped import shipped

PAGE = Path(__file__).parents[2] / "docs" / "RECIPES.md"


def test_every_key_says_what_it_means() -> None:
    assert [key.path for key in list_keys() if not key.about.endswith(".")] == []
    assert len(list_keys()) > 150


def test_a_key_with_its_values_default_and_tasks() -> None:
    (kind,) = find_keys("train.optimizer.kind")
    assert (kind.type, kind.default, kind.section) == ("sgd | adam | adamw | lars", '"sgd"', "train.optimizer")
    events = {"event_representation", "event_localization"}
    assert set(kind.tasks) == events | {
        "recognition",
        "localization",
        "pretext",
        "segmentation",
        "parsing",
        "grounding",
    }
    decay, other = find_keys("train.ema_decay")
    assert (other.default, other.of_tasks) == ("0", "segmentation")
    assert (decay.type, decay.default, decay.of_tasks) == ("number >= 0, <= 1", "0.99", "recognition")
    (seed,) = find_keys("seed")
    assert (seed.type, seed.of_tasks) == ("whole number >= 0, < 4,294,967,296", "all")
    assert {key.path for key in find_keys("rows")} == {
        f"rows.NAME.{key}" for key in ("title", "set", "paper", "curve", "cited")
    }


def test_a_key_that_tasks_know_differently_has_a_line_for_each() -> None:
    assert [(key.type, key.tasks) for key in find_keys("localizer.kind")] == [
        ("fnac | start | motion | oracle", ("recognition",)),
        ("fnac | start | motion", ("masks",)),
    ]


def test_a_section_holds_what_lies_below_it_and_no_other() -> None:
    assert {key.path.partition(".")[0] for key in find_keys("model.video")} == {"model"}
    assert {key.path for key in find_keys("log")} == {"log.tensorboard", "log.wandb", "log.project"}


@pytest.mark.parametrize(("wrong", "meant"), [("optimizer", "train.optimizer"), ("train.epchs", "train.epochs")])
def test_a_section_that_is_not_there_is_answered_with_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"no key or section of recipes\. Did you mean {meant}"):
        find_keys(wrong)


def test_the_page_is_up_to_date() -> None:
    """Renew it: asgm recipes keys --markdown > docs/RECIPES.md"""
    assert PAGE.read_text(encoding="utf-8") == recipes_page(), "asgm recipes keys --markdown > docs/RECIPES.md"


def fits(value: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Whether a value fits the part of JSON schema that recipes' has."""
    if "$ref" in schema:
        return fits(value, definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return any(fits(value, part, definitions) for part in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = {"null": type(None), "boolean": bool, "string": str, "array": list, "object": dict}
    kinds |= {"integer": int, "number": (int, float)}  # type: ignore[dict-item]
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, kinds[kind]) or (kind != "boolean" and isinstance(value, bool))):
        return False
    if kind == "array":
        return all(fits(item, schema.get("items", {}), definitions) for item in value)
    if kind != "object":
        return schema.get("minimum", float("-inf")) <= value if kind in ("integer", "number") else True
    known, more = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, item in value.items():
        part = known.get(name, {} if more is True else more)
        if part is False or not fits(item, part, definitions):
            return False
    return all(name in value for name in schema.get("required", ()))


def test_the_schema_takes_every_shipped_recipe_as_one_task_and_no_slip_of_the_pen() -> None:
    schema = json.loads(json.dumps(json_schema()))
    for name, path in shipped().items():
        values = read_yaml(path)
        assert [fits(values, part, schema["$defs"]) for part in schema["oneOf"]].count(True) == 1, name
        slip = {**values, "seeed": 3}
        assert not any(fits(slip, part, schema["$defs"]) for part in schema["oneOf"])
