"""`asgm bench step`: what is counted and shown; how fast it is here is nobody's business in a test."""

from __future__ import annotations

from typing import Any

from click.testing import CliRunner

from asgmcli.bench import step as steps
from asgmcli.bench.step import Setup, setups_of
from asgmcli.commands.bench import command


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


def test_a_table_has_a_line_a_setting() -> None:
    setups = [Setup("vit_ti"), Setup("vit_ti", checkpointing=True), Setup("vit_b", precision="bf16", compile=True)]
    text = steps.table([found(*each) for each in zip(setups, (2.0, 4.0, 0.5), strict=True)]).markdown()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "ViT-" in line]
    assert [[line[0], line[1], line[2], line[5], line[6]] for line in lines] == [
        ["ViT-Ti, fp32", "2.00", "1.50", "50.00", "2.50"],
        ["ViT-Ti, fp32, checkpointing", "4.00", "0.75", "25.00", "2.50"],
        ["ViT-B, bf16, compile", "0.50", "6.00", "200.00", "2.50"],
    ]


def test_no_repeat_begins_after_the_limit() -> None:
    told: list[str] = []
    measured = steps.measure_here(Setup("vit_ti", frames=2, pixels=32), 3, 0.0, told.append)
    assert len(measured["seconds"]) == 1
    assert len(told) == steps.WARM_UP + 1


def test_numbers_that_do_not_go_together_are_told_in_a_line() -> None:
    result = CliRunner().invoke(command, ["step", "--size", "vit_ti", "--pixels", "100"])
    assert result.exit_code == 2
    assert "clip.size 100 is not a multiple of model.video.patch_size 16" in result.output
    result = CliRunner().invoke(command, ["step", "--size", "vit_ti", "--labeled", "2", "--unlabeled", "3"])
    assert result.exit_code == 2
    assert "3 unlabelled clips are no multiple of 2 labelled ones" in result.output
