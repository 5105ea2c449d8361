"""`asgm train` as a user meets it: exit codes, messages, resuming, rows side by side."""

from __future__ import annotations

import csv
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

from asgmcli.commands.eval import command as eval_command
from asgmcli.commands.prepare import command as prepare
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


@pytest.mark.long
def test_a_budget_that_is_gone_leaves_all_but_a_step_out(recipe: Path) -> None:
    found = json.loads(train(recipe, "--budget", "1s", "--set", "train.epochs=100", "--json").stdout)
    assert found["steps"] == 1  # the evaluation alone is given more than that second
    assert "499 of 500 steps were left out to end in time (--budget)." in found["notes"]


@pytest.mark.long
def test_equal_runs_in_two_processes_write_equal_bytes(recipe: Path) -> None:
    assert train(recipe, *SHORT, "--runs", "here").exit_code == 0
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    order = [sys.executable, "-m", "asgmcli", "train", str(recipe), *SHORT, "--runs", "there"]
    subprocess.run(order, env=environment, check=True, stderr=subprocess.DEVNULL)
    one, two = (Path(name, "tiny/full/seed0/model.safetensors").read_bytes() for name in ("here", "there"))
    assert one == two


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
        (("--set", "train.epchs=3"), 2, "did you mean 'epochs'?"),
        (("--set", "train.epochs"), 2, "expected key.path=value"),
        (("--resume", "--overwrite"), 2, "give one of them"),
        (("--seed", -1), 2, "seed = -1"),
        (("--seeds", 0), 2, "--seeds"),
        (("--set", "data.labeled_per_class=4"), 3, "4 labelled clips a class"),
        (("--set", "data.manifest=gone.csv"), 3, "gone.csv: no manifest here"),
        (("--set", "data.manifest=/dev/zero"), 3, "/dev/zero: not a regular file but a device"),
        (("--set", "data.train_split=training"), 3, "no split 'training' here; there are train, val, test"),
        (("--set", "localizer.file=gone.pt", "--set", "masks.kind=localization"), 3, "gone.pt: no such weight file"),
        (("--set", "model.video.init.recipe=gone"), 2, "gone.yaml: no such recipe"),
    ]
    for arguments, code, words in cases:
        result = train(recipe, *arguments)
        assert result.exit_code == code, result.output
        assert words in result.output.replace("\n", " ")
    assert not Path("runs").exists()


def test_a_recipe_that_is_no_file_and_a_folder_without_clips_are_refused(recipe: Path) -> None:
    result = train("/dev/zero")
    assert result.exit_code == 2
    assert "/dev/zero: not a regular file but a " in result.output.replace("\n", " ")
    Path("empty").mkdir()
    result = train("empty")
    assert result.exit_code == 3
    assert "No video under empty" in result.output.replace("\n", " ")


def test_what_a_recipe_needs_is_trained_once_its_own_data_suit_it(recipe: Path) -> None:
    write_start(Path())
    wanted = ("--set", "model.video.init.recipe=start")
    for wrong in ("data.labeled_per_class=4", "data.eval_split=tset", "data.manifest=gone.csv"):
        for rows in ((), ("--row", "all")):
            result = train(recipe, *wanted, "--set", wrong, *rows)
            assert result.exit_code in (2, 3), result.output
            assert "running it first" not in result.output
    assert not Path("runs").exists()


@pytest.mark.long
def test_two_seeds_of_a_needed_recipe_are_both_made_and_data_are_built_once(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_start(Path())
    built: list[str] = []
    for name in ("recognition", "pretext"):
        functions = {each: getattr(TASKS[name], each) for each in vars(TASKS[name])}

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
    with monkeypatch.context() as patched:
        patched.setitem(TASKS, "recognition", task)
        result = train(recipe, *SHORT)
    assert result.exit_code == code
    assert "Stopped at step 2 of 3, state saved. Add --resume to go on." in result.output
    assert not Path("runs/tiny/full/seed0/result.json").exists()
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


@pytest.mark.long
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


@pytest.mark.long
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


def test_a_package_that_does_not_load_is_told_before_anything_is_made(recipe: Path, tmp_path: Path) -> None:
    """In a process that has imported nothing yet, of which `broken/` is searched first."""
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    fault = "raise OSError('libcudart.so.13: cannot open shared object file')\n"
    (tmp_path / "broken" / "torch" / "__init__.py").write_text(fault)
    (tmp_path / "work").mkdir()
    path = os.pathsep.join([str(tmp_path / "broken"), str(Path(__file__).parents[2])])
    command = [sys.executable, "-m", "asgmcli", "train", str(recipe)]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path / "work", env=environment, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: torch ")
    assert "OSError: libcudart.so.13: cannot open shared object file" in line
    assert "pip install" in line
    assert not list((tmp_path / "work").iterdir())


OTHER_THAN_THE_PAPERS = "Not beside the paper's numbers: made with other settings than the recipe's"


def with_paper(recipe: Path) -> Path:
    """The recipe, its rows with numbers of a paper's."""
    text = recipe.read_text().replace("title: sound and picture", "title: sound and picture, paper: {top1: 72.58}")
    recipe.write_text(text)
    return recipe


def test_a_run_of_other_settings_is_shown_without_the_papers_numbers(recipe: Path) -> None:
    with_paper(recipe)
    changed = train(recipe, *SHORT)
    assert "72.58" not in changed.stderr
    line = f"{OTHER_THAN_THE_PAPERS}: train.max_steps: stored 3, now None"
    assert line in changed.stderr.splitlines()
    evaluated = CliRunner().invoke(eval_command, ["runs/tiny/full/seed0"])
    assert evaluated.exit_code == 0, evaluated.output
    assert "paper" not in evaluated.stderr
    resumed = train(recipe, "--resume")
    assert "72.58" not in resumed.stderr
    assert line in resumed.stderr.splitlines()
    own = train(recipe, "--set", "data.workers=0", "--overwrite")
    assert "72.6" in own.stderr
    assert "Not beside" not in own.stderr


def test_the_table_of_other_settings_has_no_paper_and_names_what_is_not_in_it(recipe: Path) -> None:
    with_paper(recipe)
    assert train(recipe, "--set", "train.max_steps=2", "--seed", 1).exit_code == 0
    for row in ("full", "video"):
        assert train(recipe, *SHORT, "--row", row).exit_code == 0
    result = train(recipe, *SHORT, "--row", "all", "--json")
    assert result.exit_code == 0, result.output
    assert "0 runs to train, 2 finished" in result.stderr
    answer = json.loads(result.stdout)
    assert answer["columns"] == ["row", "top1", "top5", "top1_student", "seeds", "gain of full, top1 (95%)"]
    assert [each["differs"] for each in answer["left_out"]] == [["train.max_steps: stored 2, now 3"]]
    lines = [
        "Note: 20 of the 30 labels in split 'train' are not used, their clips count as unlabelled: "
        "data.labeled_per_class is 1. To use every label: --set data.labeled_per_class=null",
        f"{OTHER_THAN_THE_PAPERS}: train.max_steps: stored 3, now None",
        "Not in the table, made with other settings: runs/tiny/full/seed1: train.max_steps: stored 2, now 3",
    ]
    assert answer["notes"] == lines
    for line in lines:
        assert line in result.stderr.splitlines()
        assert f"- {line}" in Path("runs/tiny/table.md").read_text().splitlines()
    with Path("runs/tiny/table.csv").open(newline="") as file:
        assert list(csv.reader(file))[3:] == [[f"# {line}", "", "", "", "", ""] for line in lines]


def test_a_training_without_pseudo_labels_says_so_once(recipe: Path) -> None:
    never = ("--set", "thresholds={kind: fixed, value: 1.0}")
    result = train(recipe, *never, "--json")
    assert result.exit_code == 0, result.output
    (warning,) = json.loads(result.stdout)["warnings"]
    assert warning.startswith("No pseudo-label passed the threshold in 10 of 10 semi-supervised steps")
    assert json.loads(Path("runs/tiny/full/seed0/result.json").read_text())["warnings"] == [warning]
    assert result.stderr.count("No pseudo-label passed") == 1
    finished = train(recipe, *never, "--resume")
    assert f"Warning: {warning}" in finished.stderr.splitlines()
    assert train(recipe, "--row", "video", *never, *SHORT, "--json").stderr.count("No pseudo-label passed") == 0


def test_own_clips_some_labelled_train_with_the_labels_there_are(recipe: Path, demo: Path) -> None:
    """README's two commands, on clips of which some are labelled, in uneven numbers."""
    lines = ["path,label,split,id"]
    for number in range(10):
        label = ("cat", "dog")[number % 3 == 0] if number < 7 else ""
        lines.append(f"{demo}/clips/train/train_{number:05d}.mp4,{label},train,train{number}")
    for number in range(4):
        lines.append(f"{demo}/clips/test/test_{number:05d}.mp4,{('cat', 'dog')[number % 2]},test,test{number}")
    Path("my_clips.csv").write_text("\n".join(lines))
    prepared = CliRunner().invoke(prepare, ["folder", "--root", "my_clips.csv", "--out", "data/mine", "--workers", "1"])
    assert prepared.exit_code == 0, prepared.output
    mine = ("--set", "data.dataset=mine", "--set", "data.manifest=null", "--set", "localizer={kind: motion}")
    guided = ("--set", "masks.kind=localization", "--set", "train.max_steps=4")
    first = train(recipe, *mine, *guided, "--json")
    assert first.exit_code == 0, first.output
    few = json.loads(first.stdout)
    assert (few["data"]["labeled"], few["data"]["unlabeled"]) == (2, 8)
    (note,) = few["notes"]
    assert note.startswith("5 of the 7 labels in split 'train' are not used, their clips count as unlabelled")
    assert note.endswith("data.labeled_per_class is 1. To use every label: --set data.labeled_per_class=null")
    every = train(recipe, *mine, *guided, "--set", "data.labeled_per_class=null", "--runs", "all", "--json")
    assert (json.loads(every.stdout)["data"]["labeled"], json.loads(every.stdout)["data"]["unlabeled"]) == (7, 3)
    assert "are not used" not in every.stderr
    refused = train(recipe, *mine, *guided, "--set", "data.labeled_per_class=4", "--runs", "none")
    assert refused.exit_code == 3
    assert "but dog has 3" in refused.stderr
    assert "--set data.labeled_per_class=null" in refused.stderr
    assert not Path("none").exists()
