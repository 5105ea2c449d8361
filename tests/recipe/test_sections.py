"""Sections of recipes that several tasks have."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.errors import RecipeError
from asgmcli.recipe.read import check_recipe


@pytest.mark.parametrize("key", ["activation_checkpointing", "accumulate", "compile", "channels_last"])
@pytest.mark.parametrize("task", ["localization", "pretext"])
def test_where_an_option_would_do_nothing_it_is_refused(task: str, key: str) -> None:
    values = {"name": "x", "task": task, "title": "x", "default_row": "a", "rows": {"a": {"title": "a"}}}
    values |= {"data": {"dataset": "demo"}} if task == "localization" else {"model": {"localizer": {}}}
    values["train"] = {key: 2 if key == "accumulate" else True}
    if (task, key) == ("localization", "channels_last"):
        assert check_recipe(values, Path("x.yaml")).train.channels_last
        return
    with pytest.raises(RecipeError, match=rf"train\.{key} does nothing in a {task} recipe"):
        check_recipe(values, Path("x.yaml"))
