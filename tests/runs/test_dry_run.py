"""What --dry-run says, at what price, and what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from torch import Tensor

from asgmcli.commands.train import command
from asgmcli.recipe.read import load_recipe
from asgmcli.runs.counts import needs
from asgmcli.tasks.recognition import cost
from asgmcli.train.run import run_of
from asgmcli.train.trace import TracedWork, trace
from tests.tiny_training import TEXT, tiny, write_recipe, write_start

RECIPES = Path(__file__).parents[2] / "recipes"


def dry(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), "--dry-run"])


def test_a_dry_run_tells_and_leaves_nothing(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_recipe(tmp_path, demo)
    before = sorted(tmp_path.iterdir())
    result = dry(path, "--set", "train.epochs=4")
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout)["train"]["epochs"] == 4
    (found,) = json.loads(dry(path, "--set", "train.epochs=4", "--json").stdout)["runs"]
    assert found["clips"] == {"labeled": 10, "unlabeled": 20, "evaluated": 10}
    assert found["steps"] == 20
    assert found["state"] == "not begun"
    assert found["recipe"]["train"]["epochs"] == 4
    one = needs(tiny(tmp_path, demo), 10)
    # One supervised epoch of 5 steps, three with all clips, 10 clips evaluated by one view.
    expected = 5 * one.supervised.operations + 15 * one.step.operations + 10 * one.view.operations
    assert found["operations"]["all"] == expected
    assert found["least_seconds"] == pytest.approx(expected / found["operations_per_second"])
    rows = json.loads(dry(path, "--row", "all", "--seeds", 2, "--json").stdout)["runs"]
    assert [(row["recipe"]["default_row"], row["recipe"]["seed"]) for row in rows] == [
        ("full", 0),
        ("video", 0),
        ("full", 1),
        ("video", 1),
    ]
    assert sorted(tmp_path.iterdir()) == before


def test_a_dry_run_names_all_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "away.yaml").write_text(
        TEXT.replace("dataset: demo", "dataset: ucf51")
        .replace("video: {dim", "video: {init: {file: start.pth}, dim")
        .replace("audio: {dim", "audio: {init: {timm: vit_base_patch16_224.augreg_in21k}, dim")
    )
    result = dry(tmp_path / "away.yaml", "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["runs"]
    assert found["missing"] == [
        "data data/ucf51/manifest.csv: no manifest here. Make it: asgm prepare ucf51 --root FOLDER",
        "weights start.pth: no such file, which tiny starts from",
    ]
    assert found["parameters"]["all"] > 0
    assert found["before"] == [
        "file start.pth: MISSING",
        "timm's vit_base_patch16_224.augreg_in21k: not in weights/, is fetched",
    ]


def shipped(name: str, *arguments: object) -> list[dict[str, Any]]:
    result = dry(RECIPES / f"{name}.yaml", "--json", *arguments)
    assert result.exit_code == 0, result.output
    runs: list[dict[str, Any]] = json.loads(result.stdout)["runs"]
    return runs


def test_all_that_is_missing_is_named_at_once_with_steps_and_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("asgmcli.runs.room.shutil.disk_usage", lambda _: SimpleNamespace(free=10**12))
    (found,) = shipped("table1_ucf51_1shot", "--set", "model.audio.init={file: gone.pth}")
    assert found["missing"] == [
        "data data/ucf51/manifest.csv: no manifest here. Make it: asgm prepare ucf51 --root FOLDER",
        "weights gone.pth: no such file, which table1_ucf51_1shot starts from",
        "data data/flickr10k/manifest.csv: no manifest here. Make it: asgm prepare flickr_soundnet --root FOLDER "
        "--out data/flickr10k and the options at the head of the recipe",
        "data data/vggss/manifest.csv: no manifest here. Make it: asgm prepare vggss --root FOLDER",
    ]
    assert "recipe localizer_flickr10k: is run first" in found["before"]
    assert "timm's resnet18.tv_in1k: not in weights/, is fetched" in found["before"]
    assert found["clips"] == {"labeled": 51, "unlabeled": 4850, "evaluated": 1944}
    assert found["clips_known_from"] == "official split 1"
    # 50 epochs of the full batches of 51 labelled clips by 8; the recipe's head says 300 steps and 0.055 EFLOP.
    assert found["steps"] == 50 * 6
    assert found["operations"]["all"] == pytest.approx(0.055e18, rel=0.02)
    # Of the 4,850 others by 40: 6,100 steps and 0.67 EFLOP.
    other = found["otherwise"]["train.epoch=unlabeled"]
    assert other["steps"] == 50 * 122
    assert other["operations"] == pytest.approx(0.67e18, rel=0.02)
    assert found["least_seconds"] > 0


@pytest.mark.parametrize(
    ("name", "steps", "exaflop", "longer", "more"),
    [
        pytest.param("table1_kinetics400_1shot", 2_500, 0.5, 299_500, 32, marks=pytest.mark.long),
        pytest.param("table1_vggsound_1shot", 1_900, 0.38, 229_300, 24, marks=pytest.mark.long),
    ],
)
def test_steps_and_cost_are_those_of_the_recipes_heads(
    name: str,
    steps: int,
    exaflop: float,
    longer: int,
    more: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = shipped(name)
    other = found["otherwise"]["train.epoch=unlabeled"]
    assert (other["steps"], other["operations"]) == (longer, pytest.approx(more * 1e18, rel=0.05))
    assert found["steps"] == steps
    assert found["operations"]["all"] == pytest.approx(exaflop * 1e18, rel=0.05)


@pytest.mark.long
def test_where_nothing_tells_the_number_of_clips_it_is_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = shipped("localizer_flickr10k")
    assert found["clips"] is found["clips_known_from"] is found["steps"] is found["least_seconds"] is None
    assert len(found["missing"]) == 2
    assert found["operations"]["step"] > 0
    text = dry(RECIPES / "localizer_flickr10k.yaml").stderr
    assert "their number is unknown, and so are steps and time; a step takes 5.72 TFLOP" in text
    # A list of the user's own is as long as it is, whatever the data set.
    (found,) = shipped("table1_ucf51_1shot", "--set", "data.manifest=mine/manifest.csv")
    assert found["steps"] is None


def test_the_demo_is_counted_before_it_is_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = shipped("demo")
    assert found["missing"] == []
    assert found["clips"] == {"labeled": 50, "unlabeled": 950, "evaluated": 400}
    assert found["steps"] == 10 * 40
    assert found["before"][0] == "data/demo: the data set demo is generated"
    (found,) = shipped("demo_localizer")
    assert found["clips"] == {"pairs": 1000, "evaluated": 400}
    (found,) = shipped("claim_companions", "--set", "data.options.train=300", "--set", "data.options.test=70")
    assert sum(found["clips"][kind] for kind in ("labeled", "unlabeled")) == 300
    assert found["clips"]["evaluated"] == 70
    assert not list(tmp_path.iterdir())


def test_options_that_a_generated_set_does_not_have_are_refused() -> None:
    result = dry("demo", "--set", "data.options.clips=3")
    assert result.exit_code == 2
    assert "data.options: clips: demo takes train (whole number), " in result.stderr


def test_both_seeds_of_a_needed_recipe_are_named(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_recipe(tmp_path, demo)
    write_start(tmp_path)
    starts = [f"model.{name}.init={{recipe: start, seed: {seed}}}" for name, seed in (("video", 1), ("audio", 2))]
    settings = [part for start in starts for part in ("--set", start)]
    (found,) = json.loads(dry(path, "--json", *settings).stdout)["runs"]
    assert found["before"] == ["recipe start seed 1: is run first", "recipe start seed 2: is run first"]
    start = load_recipe(tmp_path / "start.yaml", seed=2)
    run_of(start, Path("runs")).prepare(start, resume=False, overwrite=False)
    Path("runs/start/start/seed2/result.json").write_text("{}")
    (found,) = json.loads(dry(path, "--json", *settings).stdout)["runs"]
    assert found["before"] == ["recipe start seed 1: is run first", "recipe start seed 2: finished"]


@pytest.mark.long
def test_rows_that_differ_in_their_thresholds_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counted = []

    def counting(work: Callable[[], Tensor], precision: str, backward: bool = True) -> TracedWork:
        counted.append(work)
        return trace(work, precision, backward)

    monkeypatch.setattr(cost, "trace", counting)
    result = dry(RECIPES / "figure4_threshold.yaml", "--json", "--row", "all")
    assert len(json.loads(result.stdout)["runs"]) == 18
    assert len(counted) == len(("step", "supervised step", "evaluated clip"))
