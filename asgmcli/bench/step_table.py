"""What `asgm bench step` shows: measured beside the goals and beside what the code it descends from takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asgmcli.bench.step import summary
from asgmcli.bench.step_setup import TITLES, Setup
from asgmcli.report.table import Cell, Table


@dataclass(frozen=True)
class Reference:
    """The released SVFormer step of 1 labelled and 2 unlabelled clips, on one core of 80 GFLOP/s.

    Attributes:
        seconds: a step.
        share: of the core's rate, percent.
        gigabytes: peak memory.
        goal: share that this project's step is to reach, percent.
    """

    seconds: float
    share: float
    gigabytes: float
    goal: float


SVFORMER = {"vit_ti": Reference(8.3, 68.0, 3.4, 86.0), "vit_s": Reference(24.1, 89.0, 6.3, 90.0)}
# Of SVFormer's peak memory: at most this share, and this with activation checkpointing.
MEMORY_GOAL, CHECKPOINTING_GOAL = 0.8, 0.4
# On a GPU: share of its bf16 rate, percent, and how many times faster than fp32.
GPU_SHARE_GOAL, GPU_SPEED_GOAL = 45.0, 3.0


def cpu_table(measured: Sequence[dict[str, Any]]) -> Table:
    """A few lines a size; goals and SVFormer's figures where the setting is theirs."""
    lines: list[list[Cell]] = []
    for found in measured:
        setup, numbers = Setup(**found["setup"]), summary(found)
        reference = SVFORMER.get(setup.size) if setup == _compared(setup) else None
        name = TITLES[setup.size] + (", checkpointing" if setup.checkpointing else "")
        limit = CHECKPOINTING_GOAL if setup.checkpointing else MEMORY_GOAL
        seconds = share = gigabytes = goal = most = None
        if reference is not None:
            most = f"at most {limit * reference.gigabytes:.2f}"
            gigabytes = reference.gigabytes
            if not setup.checkpointing:
                seconds, share = reference.seconds, reference.share
                goal = f"at least {reference.goal:.0f}"
        lines += [
            [name, "step, s", round(numbers["seconds"], 2), None, seconds],
            [name, "operations, GFLOP", round(numbers["gflop"]), None, None],
            [name, "machine, GFLOP/s", round(numbers["products_gflop_per_second"], 1), None, None],
            [name, "share of it, %", round(100 * numbers["share"], 1), goal, share],
            [name, "share, executed alone, %", round(100 * numbers["share_executed"], 1), None, None],
            [name, "peak memory, GB", round(numbers["gigabytes"], 2), most, gigabytes],
        ]
    setup = Setup(**measured[0]["setup"])
    return Table(_title(setup), ["network", "what", "measured", "goal", "SVFormer"], lines, NOTE, digits=2)


NOTE = (
    "Operations of the network as published, over the whole step; `executed` leaves out what this step does not have "
    "to compute. Memory of the whole process, libraries among it. SVFormer's figures: its released step, one core of "
    "80 GFLOP/s."
)


def gpu_table(measured: Sequence[dict[str, Any]]) -> Table:
    """A line a setting, each with the largest batch that fits."""
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
    note = f"Goals in bf16: at least {GPU_SHARE_GOAL:.0f}% of the rate, at least {GPU_SPEED_GOAL:.0f}x fp32."
    return Table(_title(Setup(**measured[0]["setup"])), columns, lines, note)


def _compared(setup: Setup) -> Setup:
    """The setting of SVFormer's figures, as far as they have one, beside `setup`."""
    return Setup(setup.size, checkpointing=setup.checkpointing)


def _title(setup: Setup) -> str:
    where = "one thread" if setup.threads == 1 else f"{setup.threads} threads"
    clips = f"{setup.labeled} labelled + {setup.unlabeled} unlabelled clips"
    batch = "" if setup.device.startswith("cuda") else f", {clips}, {where}"
    return f"Training step, {setup.modality}, {setup.frames} frames of {setup.pixels} pixels{batch}"
