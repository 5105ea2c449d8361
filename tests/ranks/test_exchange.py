"""Several ranks train as one process does; when one is signalled, dies or goes wrong, all end, and go on later."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from asgmcli.data.plan import Plan, RankShare, Stream
from asgmcli.errors import DataError, UsageError
from asgmcli.ranks import exchange
from asgmcli.recipe.read import load_recipe
from asgmcli.runs import session
from asgmcli.train.checkpoint import load_state
from asgmcli.train.run import Run
from tests.steady import steady_lines, steady_state
from tests.tiny_training import write_recipe

HARNESS = Path(__file__).with_name("together.py")
TIMED = ("seconds", "clips_per_second")


def tried(demo: Path, folder: Path, *scenarios: str) -> Any:
    """Scenarios of together.py, by name: how their processes ended, what they said and did."""
    process = subprocess.run(
        [sys.executable, str(HARNESS), str(demo), str(folder), *scenarios], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout, object_hook=lambda values: SimpleNamespace(**values))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def equal(demo: Path, folder: Path) -> Any:
    """What two ranks and one process that draws partners in two groups are asked alike."""
    return tried(demo, folder, "rows", "equal")


@pytest.fixture(scope="module")
def ends(demo: Path, folder: Path) -> Any:
    """Trainings that are resumed, go wrong or are refused."""
    names = ("straight", "evaluated", "resumed", "not_finite", "failed", "foreign", "apart", "indivisible", "ears")
    return tried(demo, folder, *names, "ears_evaluated")


def run_of(folder: Path, name: str) -> Run:
    return Run(folder / name / "tiny" / "full" / "seed0")


def result_of(run: Run) -> dict[str, Any]:
    return {key: value for key, value in (run.result() or {}).items() if key not in TIMED}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a training state, by its place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if items is None:
        yield path, value
    else:
        for key, inner in items:
            yield from leaves(inner, f"{path}.{key}")


def see_equal(one: Any, other: Any) -> None:
    found, wanted = dict(leaves(one)), dict(leaves(other))
    assert found.keys() == wanted.keys()
    for place, value in found.items():
        same = torch.equal(value, wanted[place]) if isinstance(value, torch.Tensor) else value == wanted[place]
        assert same, place


@pytest.mark.long
def test_losses_over_gathered_rows_have_one_process_s_value_and_gradient(equal: Any, folder: Path) -> None:
    alone, *ranks = (torch.load(folder / f"rows{number}.pt", weights_only=True) for number in (2, 0, 1))
    assert torch.equal(alone["rows"], torch.arange(16.0).reshape(8, 2))
    for found in ranks:
        assert torch.equal(found["rows"], alone["rows"])
        for name in ("contrast", "localize"):
            for value, wanted in zip(found[name], alone[name], strict=True):
                assert wanted.abs().max() > 1e-2
                torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_two_ranks_give_the_losses_of_one_process(equal: Any, folder: Path) -> None:
    """With two accumulated parts as with one; partners and masks are drawn in two groups, λ for all."""
    alone, together = equal.equal
    assert (alone.codes, together.codes) == ([0], [0, 0])
    assert len(alone.steps[0]) == 8
    for single, *ranks in zip(*alone.steps, *together.steps, strict=True):
        assert sorted(clip for rank in ranks for clip in rank.ids) == sorted(single.ids)
        assert [len(rank.ids) for rank in ranks] == [3, 3]
        for rank in ranks:
            assert rank.clips == single.clips == 6
            assert vars(rank.terms) == pytest.approx(vars(single.terms), abs=1e-5)
    terms = [vars(step.terms) for step in alone.steps[0]]
    assert all(terms[-1][name] > 0 for name in ("supervised", "unlabeled", "mixup", "contrastive"))
    assert any(0 < step["pseudo_share"] < 1 for step in terms)
    one, two = (load_state(run_of(folder, name).state_path)["state"] for name in ("alone", "together"))
    labels = one["threshold"]["labels"]
    assert torch.equal(labels, two["threshold"]["labels"])
    assert len(labels[labels >= 0].unique()) > 2
    for name in ("student", "teacher"):
        for key, value in one[name].items():
            torch.testing.assert_close(two[name][key], value, rtol=0, atol=1e-4)


@pytest.mark.long
def test_two_ranks_find_the_numbers_of_one_process(equal: Any, folder: Path) -> None:
    """Ten clips in batches of four: one batch for the first rank, two for the other."""
    alone, together = (run_of(folder, name) for name in ("alone", "together"))
    exchanged = {"top1_other_picture", "top1_other_sound"}
    assert result_of(alone)["metrics"].keys() == {"top1", "top5", "top1_student", "top5_student"} | exchanged
    assert result_of(together) == result_of(alone)
    tables = [(run.folder / "classes.md").read_text() for run in (alone, together)]
    assert tables[0] == tables[1]


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["tiny", "ears"])
def test_two_ranks_evaluate_a_run_as_one_process_does(ends: Any, folder: Path, recipe: str) -> None:
    """`ears`, a localizer with batch norms, was trained by three."""
    assert ends.ears.codes == [0, 0, 0]
    assert [len(steps) for steps in ends.ears.steps] == [7, 7, 7]
    outcomes = {"tiny": ends.evaluated, "ears": ends.ears_evaluated}[recipe]
    assert [outcome.codes for outcome in outcomes] == [[0], [0, 0]]
    assert len((folder / f"{recipe}1" / "predictions.csv").read_text().splitlines()) == 11
    for file in ("predictions.csv", "result.json"):
        assert (folder / f"{recipe}1" / file).read_bytes() == (folder / f"{recipe}2" / file).read_bytes()


@pytest.mark.long
def test_a_run_resumed_on_two_ranks_is_the_straight_one_bit_for_bit(ends: Any, folder: Path) -> None:
    """Stopped by a signal to one rank within an epoch, then by one to the other in the evaluation; told once."""
    straight, parts = ends.straight, ends.resumed
    assert straight.codes == [0, 0]
    assert [part.codes for part in parts] == [[75, 75], [130, 130], [0, 0]]
    for part, step in zip(parts[:2], (7, 10), strict=True):
        assert part.said[0].count(f"Stopped at step {step} of 10, state saved. Add --resume") == 1
        assert part.said[1] == ""
    for rank in range(2):
        assert [step for part in parts for step in part.steps[rank]] == straight.steps[rank]
    one, other = (run_of(folder, name) for name in ("straight", "resumed"))
    see_equal(steady_state(one.state_path), steady_state(other.state_path))
    assert steady_lines(one.metrics_path) == steady_lines(other.metrics_path)
    assert result_of(one) == result_of(other)
    see_equal(load_file(one.folder / "model.safetensors"), load_file(other.folder / "model.safetensors"))


@pytest.mark.long
def test_a_loss_that_is_not_finite_on_one_rank_stops_all(ends: Any, folder: Path) -> None:
    assert ends.not_finite.codes == [4, 4]
    assert "".join(ends.not_finite.said).count("step 6: the loss is not finite") == 1
    told = json.loads((run_of(folder, "not_finite").folder / "nonfinite.json").read_text())
    assert sorted(told["ids"]) == sorted(clip for steps in ends.straight.steps for clip in steps[6].ids)


@pytest.mark.long
def test_an_error_of_one_rank_is_told_by_it_and_ends_the_other(ends: Any) -> None:
    assert ends.failed.codes == [75, 3]
    assert "\nError: Another process is gone." in f"\n{ends.failed.said[0]}"
    assert ends.failed.said[1] == "Error: this rank's disk is gone\n"


@pytest.mark.long
def test_ranks_that_cannot_train_together_are_refused_before_anything_is_written(ends: Any, folder: Path) -> None:
    said = {
        "foreign": "All processes need the same command, folders and versions: recipe is ",
        "apart": "a run to go on with is False in process 1, True in the first.",
        "indivisible": "train.batch: 3 labelled clips a step do not divide among 2 processes",
    }
    for name, text in said.items():
        outcome = getattr(ends, name)
        assert outcome.codes == [2, 2]
        assert text in outcome.said[0]
        assert (outcome.said[0].count("\n"), outcome.said[1]) == (1, "")
    assert not any((folder / name / "tiny").exists() for name in ("foreign", "indivisible", "elsewhere"))


@pytest.fixture
def torchrun(demo: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the tiny recipe's training on two processes under torchrun; its runs lie in tmp_path/runs."""
    recipe = write_recipe(tmp_path, demo)

    def start(*options: str) -> subprocess.Popen[str]:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "asgmcli"]
        command = [sys.executable, *launcher, "train", str(recipe), "--runs", str(tmp_path / "runs"), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.mark.long
def test_torchrun_trains_all_rows_in_turn(torchrun: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process = torchrun("--row", "all", "--json", "--set", "train.max_steps=2")
    out, said = process.communicate()
    assert process.returncode == 0, said[-2000:]
    assert [(run["row"], run["steps"]) for run in json.loads(out)["runs"]] == [("full", 2), ("video", 2)]
    assert said.count("2 runs to train") == 1
    run = Run(tmp_path / "runs" / "tiny" / "video" / "seed0")
    assert json.loads((run.folder / "environment.json").read_text())["ranks"] == 2
    assert (tmp_path / "runs" / "tiny" / "table.md").exists()
    assert not list((tmp_path / "runs").rglob("*.lock"))


@pytest.mark.long
def test_torchrun_ends_all_when_one_dies_and_stops_all_when_told_to(
    torchrun: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    long, run = ("--set", "train.epochs=2000", "--set", "train.save_minutes=0.001"), run_of(tmp_path, "runs")

    def meanwhile(process: subprocess.Popen[str], step: int) -> None:
        while not run.state_path.exists() or load_state(run.state_path)["step"] <= step:
            assert process.poll() is None, process.communicate()[1][-2000:]
            time.sleep(0.1)

    process = torchrun(*long)
    meanwhile(process, 0)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "Root Cause" in said
    saved = load_state(run.state_path)["step"]
    process = torchrun(*long, "--resume")
    meanwhile(process, saved)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert said.count("state saved. Add --resume to go on.") == 1
    assert load_state(run.state_path)["step"] == int(said.split("Stopped at step ")[1].split()[0])


def test_shares_are_the_batch_and_the_list_without_a_clip_twice() -> None:
    streams = {"labeled": Stream(5, 6), "unlabeled": Stream(60, 12)}
    whole = list(Plan(streams, 0).batches(1))
    parts = [list(Plan(streams, 0, RankShare(rank, 3)).batches(1)) for rank in range(3)]
    for batch, *shares in zip(whole, *parts, strict=True):
        for stream, each in (("labeled", 2), ("unlabeled", 4)):
            dealt = [[key for key in share if key.stream == stream] for share in shares]
            assert [len(keys) for keys in dealt] == [each] * 3
            assert [key for keys in dealt for key in keys] == [key for key in batch if key.stream == stream]
    dealt = [RankShare(rank, 3).deal(range(7)) for rank in range(3)]
    assert [list(numbers) for numbers in dealt] == [[0, 1], [2, 3], [4, 5, 6]]


def test_what_one_process_does_is_refused_to_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "count_ranks", lambda: 2)
    recipes = Path(__file__).parents[2] / "recipes"
    runs = session.Session(Path("runs"), recipes, torch.device("cpu"), Console(file=io.StringIO()))
    for name, task in (("demo_pretext", "pretext"), ("figure3_masks", "masks")):
        with pytest.raises(UsageError, match=f"a {task} recipe is one process's work, here are 2"):
            runs.ensure(load_recipe(recipes / f"{name}.yaml"))


@pytest.mark.parametrize("error", [DataError("gone"), KeyError("a mistake in the program"), KeyboardInterrupt()])
def test_what_the_first_rank_fails_at_ends_the_others_in_silence(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Two ranks in turn, whose broadcast is a variable."""
    told: list[Any] = []
    monkeypatch.setattr(exchange, "count_ranks", lambda: 2)
    monkeypatch.setattr(exchange.dist, "broadcast_object_list", lambda answer: told.extend(answer))

    def work() -> None:
        raise error

    monkeypatch.setattr(exchange, "own_rank", lambda: 0)
    with pytest.raises(type(error)):
        exchange.on_main_rank(work)
    monkeypatch.setattr(exchange, "own_rank", lambda: 1)
    monkeypatch.setattr(exchange.dist, "broadcast_object_list", lambda answer: answer.__setitem__(slice(None), told))
    with pytest.raises(click.exceptions.Exit) as ended:
        exchange.on_main_rank(work)
    assert ended.value.exit_code == {DataError: 3, KeyError: 1, KeyboardInterrupt: 130}[type(error)]
