"""`asgm bench`: tables and JSON; that the figures are quick enough is asked on a quiet machine, not here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from asgmcli.bench import step
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


@pytest.mark.long
def test_a_table_is_shown_and_a_file_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "step.json"
    arguments = ["step", "--size", "vit_ti", "--repeats", 1, "--frames", 2, "--pixels", 32, "--device", "cpu"]
    result = run(*arguments, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer == json.loads(out.read_text())
    assert answer["bench"] == "step"
    assert answer["environment"]["torch"] == torch.__version__
    assert "GFLOP" in result.stderr
    refused = run(*arguments, "--out", out)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output


def test_an_unknown_bench_names_the_known_ones() -> None:
    result = run("lunch")
    assert result.exit_code == 2
    assert all(name in result.output for name in command.commands)


@pytest.mark.parametrize("name", command.commands)
def test_the_results_name_their_command(name: str) -> None:
    text = (Path(step.__file__).parent / "RESULTS.md").read_text()
    assert f"asgm bench {name}" in text
