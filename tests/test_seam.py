"""A system is new files and three dict lines: a toy prepares, trains, resumes, is judged, asked, exported and compared.

No file of asgmcli knows of it (the last test). docs/ADDING_A_SYSTEM.md tells how it is made.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets import DATASETS
from asgmcli.recipe.models import MODELS
from asgmcli.tasks import TASKS
from tests.calling import asgm, stop_at
from tests.toy import dataset, task
from tests.toy.recipe import BrightnessRecipe

RECIPE = """
name: toy
task: brightness
title: Colours
default_row: plain
rows:
  plain: {title: as it is, paper: {right: 99.0}}
  strong: {title: four times as strong, set: {model.scale: 4.0}}
data: {dataset: colours}
train: {epochs: 20, batch: 4, optimizer: {kind: adam, lr: 0.1}}
"""
COLOURS = {"dark": (20, 20, 20), "red": (220, 30, 30), "white": (200, 200, 200)}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with raw clips and the recipe, the toy's three dict lines being written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "brightness", BrightnessRecipe)
    monkeypatch.setitem(TASKS, "brightness", task)
    monkeypatch.setitem(DATASETS, "colours", dataset)
    (tmp_path / "raw").mkdir()
    for split, clips in (("train", 4), ("test", 2)):
        for label, colour in COLOURS.items():
            for number in range(clips):
                shade = np.array(colour, dtype=np.uint8) + np.uint8(8 * number + 4 * (split == "test"))
                frames = np.broadcast_to(shade, (4, 32, 32, 3)).copy()
                write_clip(tmp_path / "raw" / f"{label}_{split}_{number}.mp4", frames, 8.0, None)
    (tmp_path / "toy.yaml").write_text(RECIPE)
    return tmp_path


@pytest.mark.pictures
def test_a_toy_system_does_all_that_a_system_does(place: Path) -> None:
    assert "colours" in asgm("prepare", "--help").stdout
    assert "--only" in asgm("prepare", "colours", "--help").stdout
    asgm("prepare", "colours", "--root", "raw", "--workers", 1)
    assert Path("data/colours/colours.csv").read_text().splitlines()[:2] == ["id,colour", "dark_train_0,dark"]

    (dry,) = json.loads(asgm("train", "toy.yaml", "--dry-run", "--json").stdout)["runs"]
    assert (dry["clips"], dry["steps"], dry["parameters"]["all"]) == ({"clips": 12, "evaluated": 6}, 60, 12)

    asgm("train", "toy.yaml", "--set", "train.max_steps=7", "--runs", "short")
    whole = json.loads(asgm("train", "toy.yaml", "--json").stdout)
    assert whole["steps"] == 60
    assert whole["metrics"]["right"] > 99
    assert asgm("train", "toy.yaml", "--resume").stderr.count("finished before") == 1
    asgm("train", "toy.yaml", "--row", "strong")

    run = "runs/toy/plain/seed0"
    judged = json.loads(asgm("eval", run, "--json").stdout)
    assert judged["metrics"] == whole["metrics"]
    table = json.loads(asgm("eval", "toy.yaml", "--json").stdout)
    assert [row[0] for row in table["rows"]] == ["as it is", "four times as strong"]
    assert 99.0 in table["rows"][0]

    answers = asgm("predict", run, "raw/white_test_0.mp4", "raw/dark_test_1.mp4").stdout
    assert list(csv.reader(io.StringIO(answers)))[1:] == [
        ["raw/white_test_0.mp4", "white"],
        ["raw/dark_test_1.mp4", "dark"],
    ]
    assert json.loads(asgm("predict", f"{run}/brightness.safetensors", "raw", "--json").stdout)["task"] == "brightness"
    given = ("raw/white_test_0.mp4", "--files", "told", "--set", "predict.loud=true")
    found = json.loads(asgm("predict", run, *given, "--json").stdout)["clips"][0]
    assert (found["colour"], found["files"]) == ("WHITE", ["told/white_test_0_colour.txt"])
    assert Path("told/white_test_0_colour.txt").read_text() == "WHITE"
    assert "is there already" in asgm("predict", run, *given, code=2).stderr
    assert "only keys of evaluate and predict" in asgm("predict", run, "raw", "--set", "model.scale=2", code=2).stderr
    assert "(did you mean 'loud'?)" in asgm("predict", run, "raw", "--set", "predict.lout=true", code=2).stderr
    page = json.loads(asgm("report", run, "--json").stdout)
    assert (page["clips"], page["path"]) == (6, f"{run}/report.html")
    told = Path(run, "report.html").read_text()
    assert "Some clips with the answer" in told  # its lines hold no truth
    assert told.count("<summary>colour</summary>") == 6  # the file that it can write of an answer
    refused = asgm("eval", run, "--weights", "vggish=x.pth", code=2).stderr
    assert "a brightness network needs no other network's weights" in refused
    assert "a brightness network is not exported" in asgm("export", run, code=2).stderr
    assert "does not apply to a brightness network" in asgm("eval", run, "--clips", 2, code=2).stderr


def test_a_stopped_toy_goes_on_to_the_same_weights(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asgm("prepare", "colours", "--root", "raw", "--workers", 1)
    asgm("train", "toy.yaml")
    steps = stop_at(monkeypatch, task, 31)
    assert "Stopped at step 31 of 60" in asgm("train", "toy.yaml", "--runs", "again", code=75).output
    asgm("train", "toy.yaml", "--runs", "again", "--resume")
    assert len(steps) == 60
    one, other = (Path(runs, "toy/plain/seed0", task.WEIGHTS).read_bytes() for runs in ("runs", "again"))
    assert one == other


def test_no_file_of_the_package_knows_of_it() -> None:
    package = Path(__file__).parents[1] / "asgmcli"
    words = ("BrightnessRecipe", '"brightness"', "colours.csv", "tests.toy")
    texts = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert not [path for path, text in texts.items() if any(word in text for word in words)]
