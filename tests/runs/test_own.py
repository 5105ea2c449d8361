"""What is found in somebody's clips, and how a budget shortens the recipe that is proposed for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError, UsageError
from asgmcli.recipe.read import dump_yaml, load_recipe
from asgmcli.recipe.shipped import find_beside
from asgmcli.runs import own
from asgmcli.runs.own import RowCost, found_clips, planned, reused, words
from asgmcli.runs.session import Session
from asgmcli.train.propose import OwnClips, Proposal
from asgmcli.train.run import run_of
from asgmcli.train.task import Context

CLIPS = OwnClips("mine", Path("data/mine/manifest.csv"), {"a": 5, "b": 6}, 30, 20, 0.92, 25.0, 120, 1.0)
RECIPE = {
    "name": "mine",
    "task": "recognition",
    "title": "Mine",
    "default_row": "own",
    "rows": {"own": {"title": "all clips"}, "alone": {"title": "without the unlabelled clips"}},
    "data": {"dataset": "mine"},
    "masks": {"kind": "tube"},
    "train": {"epochs": 90, "supervised_epochs": 30},
}


def row(name: str, label: str, split: str, audio: bool = True) -> ManifestRow:
    return ManifestRow(name, f"{name}.mp4", label, split, 2.0, 25.0, 50, 64, 48, f"{name}.mp4" if audio else "", "")


def manifest(*rows: ManifestRow) -> Manifest:
    return Manifest(Path("x"), list(rows), ["a", "b"], Path("x/manifest.csv"), "")


def test_labels_clips_and_sound_are_counted() -> None:
    found = found_clips(
        manifest(
            row("1", "a", "train"),
            row("2", "a", "train"),
            row("3", "b", "train", audio=False),
            row("4", "", "train"),
            row("5", "b", "test"),
            row("6", "", "test"),
        ),
        "mine",
    )
    assert (found.labels, found.unlabeled, found.tested, found.labeled) == ({"a": 2, "b": 1}, 1, 1, 3)
    assert (found.seconds, found.fps, found.short_side, found.heard) == (2.0, 25.0, 48, 0.75)


@pytest.mark.parametrize(
    ("labels", "said"),
    [("aa", "labelled training clips of 1 class"), ("", "of 0 class"), ("ab", "no labelled clip is left to judge on")],
)
def test_clips_that_nothing_is_learnt_from_are_told(labels: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        found_clips(manifest(*(row(str(place), label, "train") for place, label in enumerate(labels))), "mine")


def test_a_row_takes_its_light_steps_its_full_ones_and_what_is_around() -> None:
    cost = RowCost(light=1.0, full=3.0, around=10.0, steps=2)
    assert cost.seconds(5, 2) == 10 + 2 * (2 * 1 + 3 * 3)
    assert cost.seconds(1, 2) == 10 + 2 * 1


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Sequence[RowCost]:
    """What each row is measured at: one whose last epochs take three times the first ones, and a lighter one."""
    found = {"own": RowCost(1.0, 3.0, 4.0, 1, 1.0), "alone": RowCost(1.0, 1.0, 4.0, 1, 2.0)}
    monkeypatch.setattr(own, "row_cost", lambda recipe, _: found[recipe.default_row])
    monkeypatch.setattr(own, "launch_seconds", lambda *_: 3.0)
    return list(found.values())


def again(epochs: int) -> Proposal:
    values = yaml.safe_load(yaml.safe_dump(RECIPE))
    values["train"] |= {"epochs": epochs, "supervised_epochs": epochs // 3}
    return Proposal(values, "tiny", "none")


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("budget", [60.0, 120.0, None])
def test_a_budget_shortens_the_training_so_that_it_fits(
    tmp_path: Path, costs: Sequence[RowCost], budget: float | None, parallel: int
) -> None:
    path = tmp_path / "recipe.yaml"
    own.write_recipe(again(90), path)
    plan = planned(path, again, ["own", "alone"], Context(torch.device("cpu"), tmp_path, tmp_path), budget, parallel)
    train = load_recipe(path).train  # type: ignore[attr-defined]
    launch = 0.0 if budget is None else 3.0
    each = [launch + cost.seconds(train.epochs, train.supervised_epochs) for cost in costs]
    assert plan.rows == dict(zip(["own", "alone"], each, strict=True))
    assert plan.after == launch + 3.0  # the verdict's
    assert plan.seconds == (sum(each) if parallel == 1 else max(each)) + plan.after
    assert (plan.epochs, plan.proposed) == (train.epochs, 90)
    if budget is None:
        assert train.epochs == 90
        assert plan.whole == plan.seconds
    else:
        assert 0.8 * budget < plan.seconds <= 0.9 * budget
        whole = [launch + cost.seconds(90, 30) for cost in costs]
        assert plan.whole == (sum(whole) if parallel == 1 else max(whole)) + plan.after


def test_every_seed_takes_its_time(tmp_path: Path, costs: Sequence[RowCost]) -> None:
    path = tmp_path / "recipe.yaml"
    own.write_recipe(again(90), path)
    context = Context(torch.device("cpu"), tmp_path, tmp_path)
    one, three = (planned(path, again, ["own", "alone"], context, None, 1, seeds).seconds for seeds in (1, 3))
    assert one == sum(cost.seconds(90, 30) + cost.verdict for cost in costs)
    assert three == 3 * one


def test_a_budget_for_not_even_two_epochs_is_told(tmp_path: Path, costs: Sequence[RowCost]) -> None:
    own.write_recipe(again(90), tmp_path / "recipe.yaml")
    with pytest.raises(UsageError, match="8 s left are too short: 2 epochs take about 28 s"):
        planned(tmp_path / "recipe.yaml", again, ["own", "alone"], None, 8.0, 1)  # type: ignore[arg-type]


def test_what_was_found_is_said_in_few_lines() -> None:
    plan = own.Plan(600.0, 20, 40, whole=1140.0)
    said = words(CLIPS, Proposal({}, "tiny", "none"), plan, ["all", "less"], torch.device("cpu"))
    assert (
        said[0]
        == "Found: 11 labelled clips of 2 classes (5 to 6 each) and 30 without a label to train on, 20 to judge on."
    )
    assert said[-1] == "Time: 20 epochs of the 40 proposed, which take 19 min, about 10 min for all rows."
    costly = words(CLIPS, Proposal({}, "tiny", "none"), replace(plan, start=301.0), ["all"], torch.device("cpu"))
    assert costly[-1].startswith("The start took 5 min of the budget. It is kept: the same command with --overwrite")
    for untold in (replace(plan, start=299.0), replace(plan, start=301.0, epochs=40)):
        assert "start took" not in " ".join(words(CLIPS, Proposal({}, "", ""), untold, [], torch.device("cpu")))
    silent = replace(CLIPS, unlabeled=0, heard=0.2)
    more = words(silent, Proposal({}, "tiny", "none"), None, ["all"], torch.device("cpu"))
    assert "No clip is unlabelled" in more[-2]
    assert "Most clips are silent" in more[-1]


def test_a_finished_start_of_another_folder_of_runs_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load(yaml.safe_dump(RECIPE)) | {"model": {"video": {"init": {"recipe": "demo_pretext"}}}}
    Path("recipe.yaml").write_text(yaml.safe_dump(values))
    needed = load_recipe(find_beside(tmp_path, "demo_pretext"))
    finished = run_of(needed, Path("earlier")).folder
    (finished / "checkpoints").mkdir(parents=True)
    (finished / "recipe.yaml").write_text(dump_yaml(needed))
    (finished / "video.safetensors").write_bytes(b"weights")
    session = Session(Path("runs"), tmp_path, torch.device("cpu"), Console(quiet=True))
    recipe = load_recipe(Path("recipe.yaml"))
    assert reused(recipe, session) == []  # it is not finished
    (finished / "result.json").write_text(json.dumps({"metrics": {}}))
    other = run_of(load_recipe(find_beside(tmp_path, "demo_pretext"), overrides=("train.epochs=1",)), Path("changed"))
    shutil.copytree(finished, other.folder)
    (other.folder / "recipe.yaml").write_text(dump_yaml(needed).replace("epochs: ", "epochs: 1"))
    half = run_of(needed, Path("runs")).folder.with_name(".seed0.part")  # of a copy that was stopped
    half.mkdir(parents=True)
    (half / "result.json").write_text("{")
    assert reused(recipe, session) == [finished]  # and not the one with other settings
    assert not half.exists()
    own = run_of(needed, Path("runs")).folder
    assert (own / "video.safetensors").read_bytes() == b"weights"
    assert not (own / "checkpoints").exists()
    assert reused(recipe, session) == []  # it is here now
