"""What a resumed run repeats to the bit: all but the clock's values and what depends on how long they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asgmcli.train.checkpoint import load_state
from asgmcli.train.pace import CLOCK_KEYS
from asgmcli.train.run import Run


def steady_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl without the values of the clock."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK_KEYS} for line in lines]


def steady_state(path: Path) -> dict[str, Any]:
    """A saved state without the length of metrics.jsonl and the seconds so far."""
    state = load_state(path)
    metrics = {key: value for key, value in state["metrics"].items() if key not in ("size", "seconds")}
    return {**state, "metrics": metrics}


def outcome(run: Run) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """The saved state, the metrics file, and the result without its times."""
    timed = {"seconds", "clips_per_second"}
    result = {key: value for key, value in (run.result() or {}).items() if key not in timed}
    return steady_state(run.state_path), steady_lines(run.metrics_path), result


def same(one: Any, other: Any, path: str = "") -> None:
    """Fail, naming the place, where two training states differ in a single bit."""
    if isinstance(one, Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{path}.{index}")
    else:
        assert one == other, path
