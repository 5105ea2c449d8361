"""What a resumed run repeats to the bit: all but the clock's values and what depends on how long they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asgmcli.train.checkpoint import load_state
from asgmcli.train.pace import CLOCK_KEYS


def steady_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl without the values of the clock."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK_KEYS} for line in lines]


def steady_state(path: Path) -> dict[str, Any]:
    """A saved state without the length of metrics.jsonl and the seconds so far."""
    state = load_state(path)
    metrics = {key: value for key, value in state["metrics"].items() if key not in ("size", "seconds")}
    return {**state, "metrics": metrics}
