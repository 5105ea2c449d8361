"""`asgm train CLIPS`: from a folder of clips to a recipe, runs, a verdict in words, and a page."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from asgmcli.commands.train_own import Budget, OwnWish, Proposing, name_of
from asgmcli.errors import UsageError
from asgmcli.media.write import write_clip
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.shipped import find_beside
from asgmcli.runs import own
from asgmcli.runs.own import Plan
from asgmcli.train.propose import Proposal
from asgmcli.train.run import run_of
from tests.calling import asgm


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders with six clips each, dark and low, bright and high, and four dark ones without a label."""
    monkeypatch.chdir(tmp_path)
    time = np.arange(16_000) / 16_000
    for label, shade, tone in (("dark", 40, 300), ("bright", 210, 1500), ("", 50, 360)):
        folder = tmp_path / "my clips" / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(6 if label else 4):
            frames = np.full((10, 48, 48, 3), shade, dtype=np.uint8)
            frames[::2, 10 + number : 20 + number, 10:20] = 255 - shade
            wave = 0.3 * np.sin(2 * np.pi * (tone + 10 * number) * time) * (np.sin(2 * np.pi * 5 * time) > 0)
            write_clip(folder / f"clip {number}.mp4", frames, 10.0, wave.astype(np.float32))
    return tmp_path / "my clips"


def test_a_name_and_a_budget_are_read_as_people_write_them() -> None:
    assert [name_of(Path(text)) for text in ("my clips", "/a/letters.csv", "-x/.hidden")] == [
        "my_clips",
        "letters",
        "hidden",
    ]
    assert name_of(Path("/a/b/..")) == "a"
    kind = Budget()
    assert [kind.convert(text, None, None) for text in ("30m", "2h", "90s", "1.5", "1d")] == [
        1800.0,
        7200.0,
        90.0,
        90.0,
        86400.0,
    ]


def test_what_is_no_use_is_told_before_anything_is_trained(clips: Path) -> None:
    assert "is for clips of your own" in asgm("train", "demo", "--size", "tiny", code=2).stderr
    for more in (("--row", "all"), ("--seeds", 2)):
        assert "one row at one seed" in asgm("train", "demo", "--budget", "5m", *more, code=2).stderr
    assert "neither --row" in asgm("train", clips, "--row", "own", code=2).stderr
    assert "write a time such as 30m" in asgm("train", clips, "--budget", "soon", code=2).stderr
    Path("one.csv").write_text("path,label\n" + "".join(f"my clips/dark/clip {n}.mp4,dark\n" for n in range(6)))
    assert "labelled training clips of 1 class(es)" in asgm("train", "one.csv", code=3).stderr


def test_more_labels_join_their_clips(clips: Path) -> None:
    Path("more.csv").write_text("path,label,guess,id\nmy clips/clip 1.mp4,bright,dark,clip 1.mp4\nx,,dark,clip 2.mp4\n")
    asgm("prepare", "folder", "--root", clips, "--out", "data/mine", "--more-labels", "more.csv")
    with Path("data/mine/manifest.csv").open(newline="") as file:
        labels = {row["id"]: (row["label"], row["split"]) for row in csv.DictReader(file)}
    assert labels["clip 1.mp4"] == ("bright", "train")
    assert labels["clip 2.mp4"] == ("", "train")
    Path("more.csv").write_text("id,label\ndark/clip 0.mp4,bright\n")
    told = asgm("prepare", "folder", "--root", clips, "--out", "data/x", "--more-labels", "more.csv", code=3).stderr
    assert "line 2: dark/clip 0.mp4 has the label dark already, not bright" in told


def test_a_new_class_of_more_labels_is_told_with_the_nearest(clips: Path) -> None:
    Path("more.csv").write_text("id,label\nclip 1.mp4,Birght\nclip 2.mp4,dark\n")
    told = asgm("prepare", "folder", "--root", clips, "--out", "data/mine", "--more-labels", "more.csv")
    words = " ".join((told.stdout + told.stderr).split())
    assert "--more-labels brings a new class, 'Birght' (1 clips); the nearest that was there is 'bright'" in words
    assert words.count("brings a new class") == 1


def test_a_folder_unlabelled_is_no_class(clips: Path) -> None:
    (clips / "Unlabelled").mkdir()
    (clips / "clip 1.mp4").rename(clips / "Unlabelled" / "clip 1.mp4")
    told = asgm("prepare", "folder", "--root", clips, "--out", "data/mine")
    assert "clips in a folder 'Unlabelled' count as unlabelled" in " ".join((told.stdout + told.stderr).split())
    with Path("data/mine/manifest.csv").open(newline="") as file:
        labels = {row["id"]: (row["label"], row["split"]) for row in csv.DictReader(file)}
    assert labels["Unlabelled/clip 1.mp4"] == ("", "train")
    assert {label for label, _ in labels.values()} == {"", "bright", "dark"}


RECIPE = """
name: my_clips
task: recognition
title: Mine
default_row: own
rows: {own: {title: all}}
data: {dataset: my_clips}
masks: {kind: tube}
"""


def splits(out: str) -> dict[str, str]:
    with Path(out, "manifest.csv").open(newline="") as file:
        return {row["id"]: row["split"] for row in csv.DictReader(file)}


def test_more_labels_move_no_clip_between_training_and_test(clips: Path) -> None:
    asgm("prepare", "folder", "--root", clips, "--out", "data/before")
    Path("one.csv").write_text("id,label\nclip 0.mp4,dark\nclip 1.mp4,dark\nclip 2.mp4,dark\n")
    # The label of a clip that has it already changes nothing: one of the test split stays there.
    Path("two.csv").write_text("id,label\nclip 3.mp4,dark\n" + "".join(f"dark/clip {n}.mp4,dark\n" for n in range(6)))
    more = ("--more-labels", "one.csv", "--more-labels", "two.csv")
    asgm("prepare", "folder", "--root", clips, "--out", "data/after", *more)
    assert splits("data/after") == splits("data/before")
    assert list(splits("data/before").values()).count("test") == 2
    asgm("prepare", "folder", "--root", clips, "--out", "data/after", *more)  # the same settings


def test_clips_and_recipes_that_are_there_are_replaced_only_where_that_is_said(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path("other", clips.name)
    shutil.copytree(clips, other)
    (other / "dark" / "clip 5.mp4").unlink()
    asgm("prepare", "folder", "--root", clips, "--out", "data/my_clips")
    before = Path("data/my_clips/manifest.csv").read_text()
    told = asgm("train", other, "--start", "none", code=2).stderr
    assert f"data/my_clips holds the clips of {clips}. Rename {other}, or say --overwrite" in told
    recipe = Path("runs/my_clips/recipe.yaml")
    recipe.parent.mkdir(parents=True)
    recipe.write_text("edited")
    Path("more.csv").write_text("id,label\nclip 0.mp4,dark\n")
    assert "is there already" in asgm("train", clips, "--more-labels", "more.csv", code=2).stderr
    assert "other settings" in asgm("train", clips, "--more-labels", "more.csv", "--resume", code=2).stderr
    assert Path("data/my_clips/manifest.csv").read_text() == before
    maps = Path("data/my_clips/motion_maps/dark/clip 0.mp4_maps.npz")
    maps.parent.mkdir(parents=True)
    maps.touch()
    monkeypatch.setattr(Proposing, "propose", lambda _: (None, None, None))
    recipe.write_text(RECIPE)
    asgm("train", clips, "--overwrite", "--dry-run")
    assert maps.exists()
    asgm("train", other, "--overwrite", "--dry-run")
    assert not maps.exists()  # of a clip of the same name in the other folder
    assert len(splits("data/my_clips")) == len(before.splitlines()) - 2


@pytest.mark.parametrize("before", [None, "edited: by hand\n"])
def test_a_wish_that_cannot_be_followed_leaves_the_recipe_as_it_was(clips: Path, before: str | None) -> None:
    recipe = Path("runs/my_clips/recipe.yaml")
    if before is not None:
        recipe.parent.mkdir(parents=True)
        recipe.write_text(before)
    wish = ("--start", "none", "--localizer", "no_such")
    assert "no such recipe" in asgm("train", clips, *wish, "--overwrite", code=2).stderr
    assert (recipe.read_text() if recipe.exists() else None) == before


def test_a_smaller_size_is_taken_where_not_even_two_epochs_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def planned(path: Path, *given: object) -> Plan:
        assert given[-2:] == (1, 3)  # side by side, seeds
        assert given[-3] == 4.0  # left of the budget
        tried.append(path.read_text())
        if tried[-1] != "tiny":
            raise UsageError("too short")
        return Plan(1.0, 9, 9)

    monkeypatch.setattr(own, "planned", planned)
    monkeypatch.setattr(own, "found_clips", lambda *_: None)
    monkeypatch.setattr(own, "proposal_for", lambda _a, _b, _c, wish: Proposal({}, wish.size or "vit_s", "none"))
    monkeypatch.setattr(own, "write_recipe", lambda proposal, path: path.write_text(proposal.size))
    monkeypatch.setattr(own, "reused", lambda *_: [])
    monkeypatch.setattr("asgmcli.recipe.read.load_recipe", lambda _: SimpleNamespace(rows={}))
    session: Any = SimpleNamespace(device=torch.device("cpu"), ensure=lambda _: None, runs=tmp_path)
    manifest: Any = None
    path = tmp_path / "recipe.yaml"
    monkeypatch.setattr("time.monotonic", lambda: 105.0)

    def proposing(wish: OwnWish) -> Proposing:
        return Proposing(manifest, path, wish, session, 1, 3, 100.0)

    assert proposing(OwnWish(budget=9.0)).propose()[1].size == "tiny"
    assert tried == ["vit_s", "vit_ti", "tiny"]
    with pytest.raises(UsageError, match="too short"):
        proposing(OwnWish(size="vit_s", budget=9.0)).propose()
    assert path.read_text() == "tiny"


def test_a_list_that_was_filled_in_outlives_its_run(tmp_path: Path) -> None:
    recipe = load_recipe(find_beside(tmp_path, "demo_pretext"))
    run = run_of(recipe, tmp_path)
    run.prepare(recipe, resume=False, overwrite=False)
    (run.folder / "checkpoints").mkdir()
    for name in ("next.csv", "model.safetensors"):
        (run.folder / name).write_text("by hand")
    for _ in range(2):
        run.prepare(recipe, resume=False, overwrite=True)
        assert {path.name for path in run.folder.iterdir()} == {"recipe.yaml", "environment.json", "next.csv"}
        assert (run.folder / "next.csv").read_text() == "by hand"
        run.recipe_path.unlink()  # as after a kill in between


@pytest.mark.long
def test_a_folder_of_clips_is_trained_on_judged_and_reported(clips: Path) -> None:
    said = asgm("train", clips, "--start", "none", "--dry-run").stderr.splitlines()
    begin = next(number for number, line in enumerate(said) if line.startswith("Found: "))
    end = next(number for number, line in enumerate(said) if line.startswith("Recipe: "))
    assert " of 2 classes " in said[begin]
    assert "and 4 without a label" in said[begin]
    assert end - begin < 15
    for more in ((), ("--dry-run",)):
        assert "is there already. Say --resume" in asgm("train", clips, *more, code=2).stderr
    recipe = Path("runs/my_clips/recipe.yaml")
    values = yaml.safe_load(recipe.read_text())
    values["train"] |= {"epochs": 3, "supervised_epochs": 1}
    recipe.write_text(yaml.safe_dump(values))
    found = json.loads(asgm("train", clips, "--resume", "--jobs", 1, "--json").stdout)
    questions = [entry["question"] for entry in found["verdict"]]
    assert questions == [
        "Did the unlabelled clips help?",
        "Is the sound used?",
        "Is the picture used?",
        "Does the mask follow the source?",
        "Is the test large enough?",
    ]
    page = Path(found["report"]).read_text()
    assert "Verdict" in page
    assert all(question in page for question in questions)
    again = json.loads(asgm("train", clips, "--resume", "--json").stdout)
    assert again["verdict"] == found["verdict"]
    assert "Run:" in asgm("train", recipe, "--row", "labels_alone", "--resume").stderr
