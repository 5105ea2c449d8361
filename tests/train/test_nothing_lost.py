"""Training that is killed, signalled or given no room loses nothing: the real command, in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
HARNESS = Path(__file__).with_name("killing.py")
SEED = 6


@pytest.mark.parametrize("kills", [10, 100])
def test_whatever_ends_a_training_it_goes_on_as_if_nothing_had_been(demo: Path, tmp_path: Path, kills: int) -> None:
    """Every promise is looked at in killing.py, after every end; here is what was done in all."""
    arguments = [sys.executable, str(HARNESS), str(demo), str(tmp_path / "runs"), str(kills), str(SEED)]
    process = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    print(process.stdout)
    seen = json.loads(process.stdout)
    assert seen["kills"]["kills"] == kills
    assert seen["kills"]["while_writing"] >= kills / 3
    assert seen["kills"]["runs_finished"] >= 1
    chains = max(1, kills // 10)
    assert sorted(seen["signals"]["codes"]) == [75] * (chains + (chains + 1) // 2) + [130] * (chains + chains // 2)
    assert "unchanged" in seen["disk"]["message"]
