"""`asgm bench step`: what is counted and shown; how fast it is here is nobody's business in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from asgmcli.bench import step as steps
from asgmcli.bench.step_setup import Setup, setups_of
from asgmcli.bench.step_table import cpu_table, gpu_table
from asgmcli.commands.bench import command

SMALL = {"frames": 2, "pixels": 32}


def found(setup: Setup, seconds: float, **changes: Any) -> dict[str, Any]:
    """What `measure` would give for steps of 100 operations."""
    values = {
        "setup": setup.__dict__,
        "seconds": [seconds, seconds, 100.0],
        "wall_seconds": [seconds] * 3,
        "products_per_second": [50.0, 100.0, 100.0],
        "operations": 100,
        "start_bytes": 0,
        "peak_bytes": 2_500_000_000,
    }
    return {**values, **changes}


def test_a_summary_by_hand() -> None:
    numbers = steps.summary(found(Setup("vit_ti"), 2.0))
    assert numbers["seconds"] == 2.0
    assert numbers["clips_per_second"] == 1.5
    assert numbers["share"] == 0.5  # of 1, 0.5 and 0.01
    assert numbers["gigabytes"] == 2.5


def test_the_largest_batch_is_found_by_halving() -> None:
    asked: list[int] = []

    def fits(limit: int, n: int) -> bool:
        asked.append(n)
        return n <= limit

    for limit in range(20):
        assert steps.largest(lambda n, limit=limit: fits(limit, n)) == limit
    asked.clear()
    steps.largest(lambda n: fits(1000, n))
    assert len(asked) < 22


def test_what_is_measured_on_a_cpu_and_on_a_gpu() -> None:
    cpu = list(setups_of(Setup(""), ["vit_ti", "vit_s"]))
    assert [(setup.size, setup.checkpointing) for setup in cpu] == [
        ("vit_ti", False),
        ("vit_ti", True),
        ("vit_s", False),
        ("vit_s", True),
    ]
    gpu = list(setups_of(Setup("", device="cuda"), ["vit_b"]))
    assert [(setup.precision, setup.compile) for setup in gpu] == [("fp32", False), ("bf16", False), ("bf16", True)]
    assert all(setup.largest for setup in gpu)


def test_a_cpus_lines() -> None:
    text = cpu_table([found(Setup("vit_ti"), 2.0), found(Setup("vit_ti", checkpointing=True), 4.0)]).markdown()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "ViT-Ti" in line]
    assert [[line[0], line[1], line[4], line[5]] for line in lines] == [
        ["ViT-Ti", "2.00", "50.00", "2.50"],
        ["ViT-Ti, checkpointing", "4.00", "25.00", "2.50"],
    ]


def test_a_gpus_lines_say_how_much_faster_than_fp32() -> None:
    setups = list(setups_of(Setup("", device="cuda"), ["vit_b"]))
    text = gpu_table([found(setups[0], 4.0), found(setups[1], 1.0), found(setups[2], 0.5)]).markdown()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "ViT-B" in line]
    assert [line[1:3] for line in lines] == [["fp32", "off"], ["bf16", "off"], ["bf16", "on"]]
    assert [line[-1] for line in lines] == ["–", "4.0", "8.0"]


@pytest.mark.long
def test_the_command_runs_real_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(steps, "measure", steps.measure_here)
    out = tmp_path / "step.json"
    arguments = ["step", "--size", "vit_ti", "--repeats", "2", "--sound", "--device", "cpu", "--out", str(out)]
    result = CliRunner().invoke(command, [*arguments, "--frames", "2", "--pixels", "32"])
    assert result.exit_code == 0, result.output
    plain, checkpointed = json.loads(out.read_text())["steps"]
    assert checkpointed["setup"]["checkpointing"]
    assert plain["operations"] == checkpointed["operations"] > 0
    assert len(plain["seconds"]) == 2
    assert plain["summary"]["share"] > 0
    assert plain["peak_bytes"] > 0


@pytest.mark.long
def test_a_setting_is_measured_in_a_process_of_its_own() -> None:
    answer = steps.measure(Setup("vit_ti", **SMALL), 1)
    assert answer["setup"] == Setup("vit_ti", **SMALL).__dict__
    assert 0 < answer["start_bytes"] < answer["peak_bytes"]


def test_numbers_that_do_not_go_together_are_told_in_a_line() -> None:
    result = CliRunner().invoke(command, ["step", "--size", "vit_ti", "--pixels", "100"])
    assert result.exit_code == 2
    assert "clip.size 100 is not a multiple of model.video.patch_size 16" in result.output
    result = CliRunner().invoke(command, ["step", "--size", "vit_ti", "--labeled", "2", "--unlabeled", "3"])
    assert result.exit_code == 2
    assert "3 unlabelled clips are no multiple of 2 labelled ones" in result.output
