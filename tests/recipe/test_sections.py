"""Sections of recipes that several tasks have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgmcli.errors import RecipeError
from asgmcli.recipe.read import check_recipe
from asgmcli.recipe.sections import LabeledSubset, TrainingData

SECTIONS: dict[str, dict[str, Any]] = {
    "localization": {"data": {"dataset": "demo"}},
    "pretext": {"model": {"localizer": {}}},
    "masks": {"data": {"dataset": "demo"}, "localizer": {"kind": "motion"}},
}


def values_of(task: str, section: str, key: str) -> dict[str, Any]:
    values = {"name": "x", "task": task, "title": "x", "default_row": "a", "rows": {"a": {"title": "a"}}}
    values |= {name: dict(inner) for name, inner in SECTIONS[task].items()}
    values.setdefault(section, {})[key] = 2  # type: ignore[index]
    return values


@pytest.mark.parametrize("key", ["activation_checkpointing", "accumulate", "compile", "unlabeled_ratio", "ema_decay"])
@pytest.mark.parametrize("task", ["localization", "pretext"])
def test_a_task_knows_no_training_of_another(task: str, key: str) -> None:
    with pytest.raises(RecipeError, match=rf"train\.{key}: unknown key"):
        check_recipe(values_of(task, "train", key), Path("x.yaml"))


@pytest.mark.parametrize(
    ("task", "section", "key"),
    [
        ("pretext", "train", "channels_last"),
        ("pretext", "clip", "short_side"),
        ("localization", "data", "labeled_per_class"),
        ("localization", "data", "eval_also"),
        ("masks", "data", "workers"),
        ("masks", "data", "eval_split"),
        ("masks", "localizer", "seconds"),
    ],
)
def test_a_task_knows_no_key_that_it_does_not_follow(task: str, section: str, key: str) -> None:
    with pytest.raises(RecipeError, match=rf"{section}\.{key}: unknown key"):
        check_recipe(values_of(task, section, key), Path("x.yaml"))


@pytest.mark.parametrize("section", ["train", "log"])
def test_what_trains_nothing_has_no_training(section: str) -> None:
    with pytest.raises(RecipeError, match=rf"{section}: unknown key"):
        check_recipe(values_of("masks", section, "epochs"), Path("x.yaml"))


def test_the_splits_that_are_read() -> None:
    assert TrainingData(dataset="demo").splits() == ["train", "test"]
    assert LabeledSubset(dataset="demo", eval_also=["val"]).splits() == ["train", "test", "val"]
