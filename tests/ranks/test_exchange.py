"""Several ranks train as one process does; when one is signalled, killed or goes wrong, all end, and go on later."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn
from torch.distributed.run import config_from_args, get_args_parser

from asgmcli.data.plan import Plan, Share
from asgmcli.errors import UsageError
from asgmcli.ranks.exchange import Ranks
from asgmcli.ranks.global_norm import GlobalBatchNorm
from asgmcli.ranks.launch import Launch, find_launch, own_environment
from asgmcli.recipe.read import load_recipe
from asgmcli.runs.session import Session
from asgmcli.train.checkpoint import load_state
from asgmcli.train.run import Run
from tests.tiny_training import write_recipe

HARNESS = Path(__file__).with_name("together.py")
TIMED = ("seconds", "clips_per_second")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def tried(demo: Path, folder: Path) -> Any:
    """Every scenario of together.py, by name: how its processes ended and what they did."""
    arguments = [sys.executable, str(HARNESS), str(demo), str(folder)]
    # What the command sets before it imports torch, which the harness has done by then.
    environment = {**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"}
    process = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout, object_hook=lambda values: SimpleNamespace(**values))


def run_of(folder: Path, name: str, recipe: str = "tiny", row: str = "full") -> Run:
    return Run(folder / name / recipe / row / "seed0")


def result_of(run: Run) -> dict[str, Any]:
    return {key: value for key, value in (run.result() or {}).items() if key not in TIMED}


def metrics_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics_path.read_text().splitlines()]


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


def see_close(alone: Any, together: Any, tolerance: float) -> None:
    """The same clips, and the same terms to `tolerance`, on every rank in every step."""
    for steps in zip(*alone.steps, *together.steps, strict=True):
        single, ranks = steps[0], steps[1:]
        assert sorted(clip for rank in ranks for clip in rank.ids) == sorted(single.ids)
        assert len({len(rank.ids) for rank in ranks}) == 1
        assert {rank.clips for rank in ranks} == {single.clips}
        for rank in ranks:
            assert vars(rank.terms) == pytest.approx(vars(single.terms), abs=tolerance)


def test_two_ranks_give_the_losses_of_one_process(tried: Any, folder: Path) -> None:
    alone, together = tried.alone, tried.together
    assert (alone.codes, together.codes) == ([0], [0, 0])
    assert len(alone.steps[0]) == 10
    see_close(alone, together, 1e-5)
    last = vars(alone.steps[0][-1].terms)
    assert all(last[name] > 0 for name in ("supervised", "unlabeled", "mixup", "contrastive", "pseudo_share"))
    runs = [run_of(folder, name) for name in ("alone", "together")]
    one, two = (load_state(run.state_path) for run in runs)
    assert torch.equal(one["state"]["threshold"]["labels"], two["state"]["threshold"]["labels"])
    assert (one["state"]["threshold"]["labels"] >= 0).sum() > 10
    for name in ("student", "teacher"):
        for key, value in one["state"][name].items():
            torch.testing.assert_close(two["state"][name][key], value, rtol=0, atol=1e-4)


def test_two_ranks_give_the_numbers_of_one_process(tried: Any, folder: Path) -> None:
    """Ten clips in batches of four: two batches for the first rank, one of two clips for the other."""
    alone, together = (result_of(run_of(folder, name)) for name in ("alone", "together"))
    assert alone["metrics"].keys() == {"top1", "top5"}
    assert together == alone
    tables = [(run_of(folder, name).folder / "classes.md").read_text() for name in ("alone", "together")]
    assert tables[0] == tables[1]
    lines = [metrics_of(run_of(folder, name)) for name in ("alone", "together")]
    assert len(lines[0]) == len(lines[1]) == 2
    assert lines[1][0] == pytest.approx(lines[0][0], abs=1e-5)


@pytest.mark.parametrize("recipe", ["tiny", "ears"])
def test_two_ranks_evaluate_a_run_as_one_process_does(tried: Any, folder: Path, recipe: str) -> None:
    outcomes = {"tiny": tried.judged, "ears": tried.ears_judged}[recipe]
    assert [outcome.codes for outcome in outcomes] == [[0], [0, 0]]
    folders = [folder / "together" / f"{recipe}-judged{ranks}" for ranks in (1, 2)]
    assert len((folders[0] / "predictions.csv").read_text().splitlines()) == 11
    for file in ("predictions.csv", "result.json"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_three_ranks_train_the_localizer_of_one_process(tried: Any, folder: Path) -> None:
    """With batch norms, whose statistics are those of all ranks' clips."""
    assert (tried.ears_alone.codes, tried.ears_together.codes) == ([0], [0, 0, 0])
    see_close(tried.ears_alone, tried.ears_together, 1e-4)
    runs = [run_of(folder, name, "ears", "only") for name in ("alone", "together")]
    one, two = (load_file(run.folder / "localizer.safetensors") for run in runs)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-3)
    alone, together = (result_of(run) for run in runs)
    assert together["metrics"] == pytest.approx(alone["metrics"], abs=0.1)
    assert {**together, "metrics": 0} == {**alone, "metrics": 0}


def test_a_run_resumed_on_two_ranks_is_the_straight_one_bit_for_bit(tried: Any, folder: Path) -> None:
    """Stopped by a signal to one rank within an epoch, then by one to the other in the evaluation."""
    straight, parts = tried.straight, tried.resumed
    assert straight.codes == [0, 0]
    assert [part.codes for part in parts] == [[75, 75], [130, 130], [0, 0]]
    assert [[len(steps) for steps in part.steps] for part in parts] == [[7, 7], [3, 3], [0, 0]]
    for rank in range(2):
        assert [step for part in parts for step in part.steps[rank]] == straight.steps[rank]
    one, other = (run_of(folder, name) for name in ("straight", "resumed"))
    see_equal(load_state(one.state_path), load_state(other.state_path))
    assert one.metrics_path.read_bytes() == other.metrics_path.read_bytes()
    assert result_of(one) == result_of(other)
    see_equal(load_file(one.folder / "model.safetensors"), load_file(other.folder / "model.safetensors"))
    states = load_state(one.state_path)
    # Each rank drops its own: their random states are different, and both are kept.
    assert not torch.equal(states["random"], states["random_others"][0]["random"])


def test_one_signalled_rank_stops_all_and_the_state_is_saved_once(tried: Any) -> None:
    for part, step in zip(tried.resumed[:2], (7, 10), strict=True):
        assert part.said[0].count(f"Stopped at step {step} of 10, state saved. Add --resume") == 1
        assert part.said[1] == ""
        assert part.seconds < 10


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_other_with_a_line(tried: Any, folder: Path, rank: int) -> None:
    """Also where it was the rank that writes and keeps the notes; a run of two ranks goes on with one as well."""
    cut, resumed = getattr(tried, f"killed{rank}")
    assert cut.codes == ([-9, 75], [75, -9])[rank]
    said = cut.said[1 - rank]
    assert said.count("Another rank is gone") == 1
    assert "The last checkpoint is intact; the same command with --resume goes on." in said
    assert "Traceback" not in "".join(cut.said)
    assert cut.seconds < 30
    assert resumed.codes == [0] * (2 - rank)
    # Saved after four steps; the seventh was not done.
    assert [step.step for step in resumed.steps[0]] == [4, 5, 6, 7, 8, 9]
    assert load_state(run_of(folder, f"killed{rank}").state_path)["step"] == 10


def test_a_loss_that_is_not_finite_on_one_rank_stops_all(tried: Any, folder: Path) -> None:
    assert tried.not_finite.codes == [4, 4]
    assert "".join(tried.not_finite.said).count("step 6: the loss is not finite") == 1
    told = json.loads((run_of(folder, "not_finite").folder / "nonfinite.json").read_text())
    # The step's ids are those of the same step of a run that went on.
    wanted = [clip for steps in tried.straight.steps for clip in steps[6].ids]
    assert sorted(told["ids"]) == sorted(wanted)
    assert (told["step"], told["cause"], told["terms"]["loss"]) == (6, "the loss", "nan")


def test_a_rank_that_waits_for_one_that_hangs_ends_when_told_to(tried: Any) -> None:
    assert tried.hung.codes == [75, 75]
    assert "rank 0 of 2 was told to stop and came to no end of its step" in tried.hung.said[0]
    assert "Traceback" not in "".join(tried.hung.said)


def test_a_signal_that_comes_while_the_ranks_agree_waits_until_they_do_again(tried: Any, folder: Path) -> None:
    """It comes to one of them after the sixth step, too late for what all know of then."""
    assert tried.late.codes == [75, 75]
    assert [len(steps) for steps in tried.late.steps] == [7, 7]
    assert tried.late.said == ["Error: Stopped at step 7 of 10, state saved. Add --resume to go on.\n", ""]
    assert load_state(run_of(folder, "late").state_path)["step"] == 7


def test_ranks_that_see_other_runs_are_refused_before_anything_is_written(tried: Any, folder: Path) -> None:
    stopped, *refused = tried.apart
    assert stopped.codes == [75, 75]
    for part, what in zip(refused, ("a run to go on with False, there True", "step 0, there 3"), strict=True):
        assert part.codes == [3, 3]
        assert part.said[0] == ""
        assert part.said[1].startswith("Error: Process 1 (on ")
        assert part.said[1].count("\n") == 1
        assert f"would not train what the first does: {what}" in part.said[1]
    assert load_state(run_of(folder, "apart").state_path)["step"] == 3
    files = {path.name for path in run_of(folder, "elsewhere").folder.rglob("*")}
    assert files == {"recipe.yaml", "environment.json"}


def test_a_first_rank_killed_at_its_own_work_ends_those_that_wait_and_all_start_again(tried: Any, folder: Path) -> None:
    """Under an agent, which keeps the ranks' notes of the first attempt beside those of the second."""
    cut, again = tried.restarted
    assert cut.codes == [-9, 75]
    assert "Error: Another rank is gone" in cut.said[1]
    assert "Traceback" not in "".join(cut.said)
    assert again.codes == [0, 0]
    assert load_state(run_of(folder, "restarted").state_path)["step"] == 6


def test_an_error_of_the_first_rank_alone_is_told_by_it_and_ends_all(tried: Any, folder: Path) -> None:
    """Before the first step; an agent signals the one that ends last, which is no reason to say that it was stopped."""
    assert tried.unmade.codes == [3, 3]
    assert tried.unmade.said == ["Error: this rank's disk is gone\n", ""]
    assert not (folder / "unmade" / "tiny").exists()


def test_ranks_with_other_settings_are_refused(tried: Any, folder: Path) -> None:
    assert tried.foreign.codes == [3, 3]
    assert tried.foreign.said[0] == ""
    assert "Process 1 (on" in tried.foreign.said[1]
    assert "would not train what the first does: recipe" in tried.foreign.said[1]
    assert not (folder / "foreign" / "tiny").exists()


def test_an_error_of_one_rank_is_told_once_and_ends_all(tried: Any) -> None:
    assert tried.failed.codes == [3, 3]
    assert tried.failed.said == ["", "Error: this rank's disk is gone\n"]


def test_a_batch_that_does_not_divide_is_refused(tried: Any, folder: Path) -> None:
    assert tried.indivisible.codes == [2, 2]
    said = "".join(tried.indivisible.said)
    assert said.count("train.batch: 3 labelled clips a step do not divide among 2 processes") == 1
    assert not (folder / "indivisible" / "tiny").exists()


def test_shares_are_the_batch_and_the_list_without_a_clip_twice() -> None:
    whole = list(Plan(5, 60, 6, 2, 0).batches(1))
    parts = [list(Plan(5, 60, 6, 2, 0, share=Share(rank, 3)).batches(1)) for rank in range(3)]
    for batch, *shares in zip(whole, *parts, strict=True):
        for stream, each in (("labeled", 2), ("unlabeled", 4)):
            dealt = [[key for key in share if key.stream == stream] for share in shares]
            assert [len(keys) for keys in dealt] == [each] * 3
            assert [key for keys in dealt for key in keys] == [key for key in batch if key.stream == stream]
    dealt = [Share(rank, 3).deal(range(7)) for rank in range(3)]
    assert [list(numbers) for numbers in dealt] == [[0, 3, 6], [1, 4], [2, 5]]


def test_what_one_process_does_is_refused_to_several() -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    session = Session(Path("runs"), recipes, torch.device("cpu"), Console(file=io.StringIO()), Ranks(Launch(0, 2, 0)))
    for name, task in (("demo_pretext", "pretext"), ("figure3_masks", "masks")):
        with pytest.raises(UsageError, match=f"a {task} recipe is one process's work, here are 2"):
            session.ensure(load_recipe(recipes / f"{name}.yaml"))


def test_a_job_of_one_of_several_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
    assert find_launch() == Launch(1, 2, 0)
    kept = own_environment()
    assert kept.keys() == {name for name in os.environ if name not in given and name != "TORCHELASTIC_RUN_ID"}
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not find_launch().several
    monkeypatch.delenv("MASTER_ADDR")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not find_launch().several


def test_a_global_batch_norm_is_torchs_in_one_process() -> None:
    norms = [kind(3, momentum=0.2) for kind in (nn.BatchNorm2d, GlobalBatchNorm)]
    inputs = [torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in norms]
    weights = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(2))
    for norm, x in zip(norms, inputs, strict=True):
        for _ in range(2):
            (norm(x) * weights).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for one, other in zip(norms[0].state_dict().items(), norms[1].state_dict().items(), strict=True):
        assert one[0] == other[0]
        torch.testing.assert_close(one[1], other[1])
    torch.testing.assert_close(norms[0].weight.grad, norms[1].weight.grad)
    torch.testing.assert_close(norms[0].eval()(weights), norms[1].eval()(weights))


def test_torchrun_trains_all_rows_in_turn(demo: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, demo)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "asgmcli"]
    options = ["--row", "all", "--json", "--runs", str(tmp_path / "runs"), "--set", "train.max_steps=2"]
    command = [sys.executable, *launcher, "train", str(recipe), *options]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    told = json.loads(process.stdout)
    assert [(run["row"], run["steps"]) for run in told["runs"]] == [("full", 2), ("video", 2)]
    assert process.stderr.count("2 runs to train") == 1
    run = Run(tmp_path / "runs" / "tiny" / "video" / "seed0")
    assert json.loads((run.folder / "environment.json").read_text())["ranks"] == 2
    assert len(load_state(run.state_path)["random_others"]) == 1
    assert (tmp_path / "runs" / "tiny" / "table.md").exists()
    assert not list((tmp_path / "runs").rglob("*.lock"))


def test_the_slurm_script_starts_torchrun_on_each_machine(tmp_path: Path) -> None:
    """With stand-ins for Slurm's commands: one names the machines, the other shows what it was to start."""
    for name, text in (("scontrol", "printf 'node3\\nnode4\\n'"), ("srun", 'printf "%s\\n" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    given = {"JOB_NODELIST": "node[3-4]", "JOB_NUM_NODES": "2", "GPUS_ON_NODE": "4", "JOB_ID": "17"}
    given["CPUS_PER_TASK"] = "32"
    slurm = {f"SLURM_{name}": value for name, value in given.items()}
    script = Path(__file__).parents[2] / "recipes" / "slurm_train.sh"
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = subprocess.run(
        ["sh", str(script), "my recipe.yaml", "--row", "all"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    words = process.stdout.splitlines()
    assert words[:3] == ["--cpus-per-task=32", "--kill-on-bad-exit=1", "torchrun"]
    assert words[-6:] == ["asgmcli", "train", "my recipe.yaml", "--row", "all", "--resume"]
    arguments = config_from_args(get_args_parser().parse_args(words[3:]))[0]
    assert (arguments.min_nodes, arguments.max_nodes, arguments.nproc_per_node) == (2, 2, 4)
    assert (arguments.rdzv_backend, arguments.rdzv_endpoint, arguments.run_id) == ("c10d", "node3:29500", "17")
