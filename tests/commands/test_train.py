"""`asgm train` as a user meets it: exit codes, messages, resuming, rows side by side."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from asgmcli.commands.train import command
from asgmcli.tasks import TASKS
from tests.tiny_training import watched, write_recipe, write_start


@pytest.fixture
def recipe(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path, demo)


def train(recipe: Path, *arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(recipe), *map(str, arguments)])
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


SHORT = ("--set", "train.max_steps=3")


def test_a_run_ends_with_its_numbers_and_where_to_look_next(recipe: Path) -> None:
    result = train(recipe, *SHORT, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found == json.loads(Path("runs/tiny/full/seed0/result.json").read_text())
    assert found["steps"] == 3
    assert "Tiny: sound and picture, seed 0" in result.stderr
    assert "asgm eval runs/tiny/full/seed0" in result.stderr
    assert "confusion.png" in result.stderr
    assert train(recipe, *SHORT, "--row", "video", "--seed", 3).stdout == ""
    assert Path("runs/tiny/video/seed3/result.json").exists()


def test_folders_with_brackets_are_text(recipe: Path) -> None:
    result = train(recipe, *SHORT, "--runs", "runs[/1]")
    assert result.exit_code == 0
    assert "Run: runs[/1]/tiny/full/seed0" in result.stderr
    assert (
        "runs[/1]/tiny/full/seed0: finished before." in train(recipe, *SHORT, "--runs", "runs[/1]", "--resume").stderr
    )


def test_what_a_user_gets_wrong_is_told_and_nothing_is_written(recipe: Path) -> None:
    cases: list[tuple[tuple[object, ...], int, str]] = [
        (("--row", "vidoe"), 2, "no row 'vidoe' (did you mean 'video'?)"),
        (("--set", "train.epoch=3"), 2, "did you mean 'epochs'?"),
        (("--set", "train.epochs"), 2, "expected key.path=value"),
        (("--resume", "--overwrite"), 2, "give one of them"),
        (("--seed", -1), 2, "seed = -1"),
        (("--seeds", 0), 2, "--seeds"),
        (("--set", "data.labeled_per_class=4"), 3, "4 labelled clips a class"),
        (("--set", "data.manifest=gone.csv"), 3, "gone.csv: no manifest here"),
        (("--set", "data.manifest=/dev/zero"), 3, "/dev/zero: not a regular file but a device"),
        (("--set", "data.train_split=training"), 2, "'training': input should be 'train', 'val', 'test'"),
        (("--set", "localizer.file=gone.pt", "--set", "masks.kind=localization"), 3, "gone.pt: no such weight file"),
        (("--set", "model.video.init.recipe=gone"), 2, "gone.yaml: no such recipe"),
    ]
    for arguments, code, words in cases:
        result = train(recipe, *arguments)
        assert result.exit_code == code, result.output
        assert words in result.output.replace("\n", " ")
    assert not Path("runs").exists()


def test_a_recipe_that_is_no_file_is_refused(recipe: Path) -> None:
    for path in ("/dev/zero", str(recipe.parent)):
        result = train(path)
        assert result.exit_code == 2
        assert f"{path}: not a regular file but a " in result.output.replace("\n", " ")


def test_what_a_recipe_needs_is_trained_once_its_own_data_suit_it(recipe: Path) -> None:
    write_start(Path())
    wanted = ("--set", "model.video.init.recipe=start")
    for wrong in ("data.labeled_per_class=4", "data.eval_split=tset", "data.manifest=gone.csv"):
        for rows in ((), ("--row", "all")):
            result = train(recipe, *wanted, "--set", wrong, *rows)
            assert result.exit_code in (2, 3), result.output
            assert "running it first" not in result.output
    assert not Path("runs").exists()


def test_two_seeds_of_a_needed_recipe_are_both_made_and_data_are_built_once(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_start(Path())
    built: list[str] = []
    for name in ("recognition", "pretext"):
        functions = {
            each: getattr(TASKS[name], each) for each in ("build_data", "build_state", "train_step", "evaluate")
        }

        def build_data(recipe: Any, build: Any = functions["build_data"]) -> Any:
            built.append(f"{recipe.name} {recipe.seed}")
            return build(recipe)

        monkeypatch.setitem(TASKS, name, SimpleNamespace(**{**functions, "build_data": build_data}))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # else in processes of their own
    seeds = (
        "--set",
        "model.video.init={recipe: start, seed: 1}",
        "--set",
        "model.audio.init={recipe: start, seed: run}",
    )
    result = train(recipe, *SHORT, *seeds, "--seed", 2)
    assert result.exit_code == 0, result.output
    assert sorted(path.parent.name for path in Path("runs/start").glob("*/*/result.json")) == ["seed1", "seed2"]
    assert built == ["tiny 2", "start 1", "start 2"]
    # The run is the one that starts where all that it needs is there.
    weights = Path("runs/tiny/full/seed2/model.safetensors")
    before = load_file(weights)
    assert train(recipe, *SHORT, *seeds, "--seed", 2, "--overwrite").exit_code == 0
    assert built[3:] == ["tiny 2"]
    after = load_file(weights)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_room_is_asked_for_before_anything_is_trained(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_start(Path())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=20_000))
    for rows in ((), ("--row", "all", "--seeds", 3)):
        result = train(recipe, "--set", "model.video.init.recipe=start", *rows)
        assert result.exit_code == 3, result.output
        text = " ".join(result.output.split())
        assert "runs: too little room on its disk. The training writes about " in text
        assert "0.0 MB are free: runs/tiny/full/seed0: checkpoint 0.1 MB, twice while" in text
        assert ("and 1 more" in text) == bool(rows)
    assert not Path("runs").exists()
    (found,) = json.loads(train(recipe, "--dry-run", "--json").stdout)["runs"]
    assert found["missing"][0].startswith("runs: too little room on its disk.")


def test_a_manifest_row_whose_file_is_gone(recipe: Path, demo: Path, tmp_path: Path) -> None:
    for name in ("manifest.csv", "classes.txt"):
        (tmp_path / name).write_text((demo / name).read_text())
    result = train(recipe, "--set", f"data.manifest={tmp_path / 'manifest.csv'}")
    assert result.exit_code == 3
    assert "40 of 40 clips" in result.output
    assert "clips/train/train_000" in result.output


def test_a_run_goes_on_only_when_told_to(recipe: Path) -> None:
    assert train(recipe, *SHORT).exit_code == 0
    refused = train(recipe, *SHORT)
    assert refused.exit_code == 2
    assert "--resume to go on, --overwrite to redo" in refused.output.replace("\n", " ")
    before = Path("runs/tiny/full/seed0/result.json").stat().st_mtime_ns
    resumed = train(recipe, *SHORT, "--resume")
    assert resumed.exit_code == 0
    assert "finished before" in resumed.output
    assert Path("runs/tiny/full/seed0/result.json").stat().st_mtime_ns == before
    other = train(recipe, "--set", "train.max_steps=4", "--resume")
    assert other.exit_code == 2
    assert "train.max_steps: stored 3, now 4" in other.output.replace("\n", " ")
    failed = train(recipe, "--set", "data.manifest=gone.csv", "--overwrite")
    assert failed.exit_code == 3
    assert Path("runs/tiny/full/seed0/result.json").stat().st_mtime_ns == before  # replaced only by what can be run
    assert train(recipe, "--set", "train.max_steps=4", "--overwrite", "--json").exit_code == 0
    assert json.loads(Path("runs/tiny/full/seed0/result.json").read_text())["steps"] == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_run_can_be_resumed(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    task = watched([], at=1, act=lambda terms: os.kill(os.getpid(), number))
    monkeypatch.setitem(TASKS, "recognition", task)
    result = train(recipe, *SHORT)
    assert result.exit_code == code
    assert "Stopped at step 2 of 3, state saved. Add --resume to go on." in result.output
    assert not Path("runs/tiny/full/seed0/result.json").exists()
    monkeypatch.undo()
    os.chdir(recipe.parent)
    recipe.write_text(recipe.read_text().replace("epochs: 3", "epochs: 7"))
    for value in (1, 4):
        refused = train(recipe, "--resume", "--set", f"train.max_steps={value}", "--set", "train.batch=2")
        assert refused.exit_code == 2
        assert f"train.max_steps: stored 3, now {value}. Resume without" in refused.output.replace("\n", " ")
    # What the run was started with is stored: neither the --set is needed, nor does a change of the file count. What a
    # machine gives it may change.
    resumed = train(recipe, "--resume", "--set", "train.save_minutes=5", "--set", "train.cores=1")
    assert resumed.exit_code == 0
    assert "save_minutes" not in resumed.output
    assert "not as its recipe says by now: train.epochs: stored 3, now 7; train.max_steps: stored 3" in resumed.output
    assert json.loads(Path("runs/tiny/full/seed0/result.json").read_text())["steps"] == 3


def test_a_loss_that_is_not_a_number_ends_with_code_4(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(terms: dict[str, Any]) -> dict[str, Any]:
        return {**terms, "loss": terms["loss"] * float("nan")}

    monkeypatch.setitem(TASKS, "recognition", watched([], at=1, act=spoil))
    result = train(recipe, *SHORT)
    assert result.exit_code == 4
    assert "not finite" in result.output
    assert Path("runs/tiny/full/seed0/nonfinite.json").exists()


def test_sigterm_to_a_real_process(recipe: Path) -> None:
    arguments = [sys.executable, "-m", "asgmcli", "train", str(recipe), "--set", "train.epochs=2000"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = Path("runs/tiny/full/seed0/metrics.jsonl")
    deadline = time.monotonic() + 90
    while not metrics.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    _, text = process.communicate(timeout=60)
    assert process.returncode == 75, text
    assert time.monotonic() - told < 10
    assert "state saved" in text
    assert "Traceback" not in text
    checkpoints = [path.name for path in Path("runs/tiny/full/seed0/checkpoints").iterdir()]
    assert checkpoints == ["last.pt"]


def test_every_row_and_seed_side_by_side_end_in_one_table(recipe: Path) -> None:
    assert train(recipe, *SHORT, "--row", "video").exit_code == 0  # kept, not trained again
    kept = Path("runs/tiny/video/seed0/result.json").stat().st_mtime_ns
    result = train(recipe, *SHORT, "--row", "all", "--jobs", 2, "--json")
    assert result.exit_code == 0, result.output
    assert "1 runs to train, 1 finished" in result.stderr
    assert "1/1 full seed 0: done" in result.stderr
    assert Path("runs/tiny/video/seed0/result.json").stat().st_mtime_ns == kept
    table = json.loads(result.stdout)
    assert [row[0] for row in table["rows"]] == ["sound and picture", "picture"]
    assert len(table["runs"]) == 2
    assert json.loads(Path("runs/tiny/table.json").read_text()) == table
    assert "picture" in Path("runs/tiny/table.md").read_text()

    other = train(recipe, "--set", "train.max_steps=2", "--row", "all")
    assert other.exit_code == 2
    assert "train.max_steps: stored 3, now 2" in other.output.replace("\n", " ")
    assert json.loads(Path("runs/tiny/table.json").read_text()) == table
