"""`asgm bench`: tables and JSON; that the figures are quick enough is asked on a quiet machine, not here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from asgmcli.bench import startup
from asgmcli.commands.bench import command
from asgmcli.report.timing import Timing, repeat


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_timing_by_hand() -> None:
    assert Timing("x", [3.0, 1.0, 2.0, 10.0]).data() == {
        "name": "x",
        "repeats": 4,
        "median_ms": 2.5,
        "fastest_ms": 1.0,
        "slowest_ms": 10.0,
    }
    calls: list[int] = []
    timing = repeat("x", lambda: calls.append(1), 3, warm_up=2)
    assert len(calls) == 5
    assert len(timing.milliseconds) == 3


def test_masks_are_timed_on_one_thread_and_the_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    result = run("masks", "--repeats", 2, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["bench"] == "masks"
    assert [line["name"] for line in answer["timings"]] == ["tube", "guided, map of 7 x 7", "guided, map of 14 x 14"]
    assert all(0 < line["fastest_ms"] <= line["median_ms"] <= line["slowest_ms"] for line in answer["timings"])
    assert answer["environment"]["torch"] == torch.__version__
    assert "median" in result.stderr
    assert torch.get_num_threads() == before


def test_startup_is_that_of_the_real_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "startup.json"
    result = run("startup", "--repeats", 1, "--out", out)
    assert result.exit_code == 0, result.output
    assert "asgm --help" in result.stdout
    bare, helped = json.loads(out.read_text())["timings"]
    assert (bare["name"], helped["name"]) == ("python alone", "asgm --help")
    refused = run("startup", "--out", out)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output
    monkeypatch.setattr(startup, "COMMANDS", {"nothing": ["-c", "pass"]})
    assert run("startup", "--repeats", 1, "--out", out, "--overwrite").exit_code == 0
    assert json.loads(out.read_text())["timings"][0]["name"] == "nothing"


def test_an_unknown_bench_names_the_known_ones() -> None:
    result = run("lunch")
    assert result.exit_code == 2
    assert all(name in result.output for name in command.commands)


@pytest.mark.parametrize("name", command.commands)
def test_the_results_name_their_command(name: str) -> None:
    text = (Path(startup.__file__).parent / "RESULTS.md").read_text()
    assert f"asgm bench {name}" in text
