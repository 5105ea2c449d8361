"""`asgm bench`: tables and JSON; that the figures are quick enough is asked on a quiet machine, not here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from asgmcli.bench import step
from asgmcli.commands.bench import command
from asgmcli.report.timing import Timing


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


@pytest.mark.long
def test_steps_are_told_and_shown_and_a_file_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "step.json"
    arguments = [
        "step",
        "--size",
        "vit_ti",
        "--repeats",
        "2",
        "--frames",
        "2",
        "--pixels",
        "32",
        "--device",
        "cpu",
        "--sound",
    ]
    result = run(*arguments, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer == json.loads(out.read_text())
    assert answer["bench"] == "step"
    assert answer["environment"]["torch"] == torch.__version__
    assert "GFLOP" in result.stderr
    for text in ("ViT-Ti, fp32: step 1 of 2 that are not timed", "ViT-Ti, fp32, checkpointing: 2 of 2:"):
        assert text in result.stderr
    plain, checkpointed = answer["steps"]
    assert checkpointed["setup"]["checkpointing"]
    assert plain["operations"] == checkpointed["operations"] > 0
    assert len(plain["seconds"]) == 2
    assert plain["summary"]["share"] > 0
    assert 0 < plain["start_bytes"] < plain["peak_bytes"]
    refused = run(*arguments, "--out", out)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output


@pytest.mark.parametrize("name", command.commands)
def test_the_results_name_their_command(name: str) -> None:
    text = (Path(step.__file__).parent / "RESULTS.md").read_text()
    assert f"asgm bench {name}" in text
