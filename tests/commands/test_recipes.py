"""`asgm recipes`, and recipes called by name or copied elsewhere, by the real commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asgmcli.cli import main
from asgmcli.recipe.models import MODELS
from asgmcli.recipe.shipped import shipped


def asgm(*arguments: object) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert "Traceback" not in result.output
    return result


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_line_for_each_recipe() -> None:
    result = asgm("recipes")
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert list(lines) == list(shipped())
    assert lines["demo"] == "Demo, 5 labels a class"


def test_the_list_as_json() -> None:
    found = json.loads(asgm("recipes", "--json").stdout)["recipes"]
    assert [item["name"] for item in found] == list(shipped())
    assert all(Path(item["path"]).is_file() and item["title"] for item in found)


def test_copy_says_what_to_do_next() -> None:
    result = asgm("recipes", "copy", "demo", "mine.yaml", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"path": "mine.yaml", "name": "mine", "copy_of": "demo"}
    assert "asgm train mine.yaml" in result.stderr
    again = asgm("recipes", "copy", "demo", "mine.yaml")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_a_copy_finds_the_shipped_recipes_it_needs() -> None:
    asgm("recipes", "copy", "figure3_masks", "mine.yaml")
    result = asgm("train", "mine.yaml", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["runs"]
    assert run["run"].startswith("runs/mine/")
    assert run["before"][0] == "recipe localizer_flickr10k: is run first"
    missing = asgm("train", "mine.yaml", "--dry-run", "--set", "localizer.recipe=localizer_flickr20k")
    assert missing.exit_code == 0
    assert "no such recipe (did you mean 'localizer_flickr10k'" in missing.output


def test_train_and_eval_take_a_name() -> None:
    result = asgm("train", "figure3_masks", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["runs"][0]["run"].startswith("runs/figure3_masks/")
    table = asgm("eval", "demo")
    assert "runs/demo: no finished run of recipe 'demo'" in table.output
    Path("demo").mkdir()
    assert "demo: not a run" in asgm("eval", "demo").output  # a path wins


def test_a_mistyped_name_is_answered_with_the_nearest() -> None:
    for command in ("train", "eval"):
        result = asgm(command, "dmeo")
        assert result.exit_code in (2, 3)
        assert "did you mean" in result.output
        assert "demo" in result.output.split("did you mean")[1]


def test_keys_listed_as_json_as_schema_and_as_the_page() -> None:
    shown = asgm("recipes", "keys", "train.optimizer")
    assert shown.exit_code == 0
    assert "train.optimizer.clip_norm" in shown.stdout
    assert "model.video.dim" not in shown.stdout
    (key,) = json.loads(asgm("recipes", "keys", "losses.mixup.space", "--json").stdout)["keys"]
    assert (key["path"], key["type"], key["tasks"]) == ("losses.mixup.space", "logits | probabilities", ["recognition"])
    assert key["about"]
    assert len(json.loads(asgm("recipes", "keys", "--schema").stdout)["oneOf"]) == len(MODELS)
    assert asgm("recipes", "keys", "--markdown").stdout.startswith("# Recipes\n")


@pytest.mark.parametrize("arguments", [("optimizer",), ("train", "--schema"), ("train", "--markdown")])
def test_keys_that_cannot_be_shown(arguments: tuple[str, ...]) -> None:
    result = asgm("recipes", "keys", *arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_a_set_key_that_does_nothing_in_the_row_is_a_users_mistake() -> None:
    result = asgm("train", "demo", "--row", "tube", "--set", "masks.sharpness=2.0", "--dry-run")
    assert result.exit_code == 2
    assert "masks.sharpness does nothing in row 'tube', where masks.kind is tube: leave it out" in result.stderr


def test_of_all_rows_one_at_least_obeys_a_set_key() -> None:
    result = asgm("train", "demo", "--row", "all", "--set", "masks.sharpness=2.0", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    found = {run["run"].split("/")[2]: run["recipe"]["masks"]["sharpness"] for run in json.loads(result.stdout)["runs"]}
    assert (found["tube"], found["supervised"], found["guided"]) == (1.0, 1.0, 2.0)
    none = asgm("train", "demo", "--row", "all", "--set", "losses.mixup.constant=0.4", "--dry-run")
    assert none.exit_code == 2
    assert "losses.mixup.constant does nothing" in none.stderr
