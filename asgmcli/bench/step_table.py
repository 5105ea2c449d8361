"""The tables of `asgm bench step`."""

from __future__ import annotations

from collections.abc import Sequence

from asgmcli.bench.step import Measured, summary
from asgmcli.bench.step_setup import TITLES, Setup
from asgmcli.report.table import Cell, Table

NOTE = "Operations of the whole step, as torch counts them. Memory of the whole process, libraries among it."


def cpu_table(measured: Sequence[Measured]) -> Table:
    """Return a line for each setting."""
    lines: list[list[Cell]] = []
    for found in measured:
        setup, numbers = Setup(**found["setup"]), summary(found)
        lines.append(
            [
                TITLES[setup.size] + (", checkpointing" if setup.checkpointing else ""),
                round(numbers["seconds"], 2),
                round(numbers["gflop"]),
                round(numbers["products_gflop_per_second"], 1),
                round(100 * numbers["share"], 1),
                round(numbers["gigabytes"], 2),
            ]
        )
    columns = ["network", "step, s", "GFLOP", "GFLOP/s of products", "share, %", "peak memory, GB"]
    return Table(_title(Setup(**measured[0]["setup"])), columns, lines, NOTE, digits=2)


def gpu_table(measured: Sequence[Measured]) -> Table:
    """Return a table with one line a setting, each with the largest batch that fits."""
    lines: list[list[Cell]] = []
    plain = {found["setup"]["size"]: summary(found) for found in measured if found["setup"]["precision"] == "fp32"}
    for found in measured:
        setup, numbers = Setup(**found["setup"]), summary(found)
        faster = None
        if setup.precision == "bf16" and setup.size in plain:
            faster = numbers["clips_per_second"] / plain[setup.size]["clips_per_second"]
        lines.append(
            [
                TITLES[setup.size],
                setup.precision,
                "on" if setup.compile else "off",
                f"{setup.labeled} + {setup.unlabeled}",
                round(numbers["clips_per_second"], 1),
                round(numbers["gigabytes"], 1),
                round(numbers["products_gflop_per_second"] / 1000, 1),
                round(100 * numbers["share"], 1),
                faster,
            ]
        )
    columns = ["network", "precision", "compile", "batch", "clips/s", "GB", "TFLOP/s of products", "share, %", "x fp32"]
    return Table(_title(Setup(**measured[0]["setup"])), columns, lines)


def _title(setup: Setup) -> str:
    where = "one thread" if setup.threads == 1 else f"{setup.threads} threads"
    clips = f"{setup.labeled} labelled + {setup.unlabeled} unlabelled clips"
    batch = "" if setup.device.startswith("cuda") else f", {clips}, {where}"
    return f"Training step, {setup.modality}, {setup.frames} frames of {setup.pixels} pixels{batch}"
