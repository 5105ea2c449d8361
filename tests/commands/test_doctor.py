"""`asgm doctor` in a process of its own: all well, and with packages that do not load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from asgmcli.commands.doctor import command
from asgmcli.doctor import packages
from asgmcli.doctor.findings import Finding

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_this_machine_is_looked_at_and_left_as_it_was(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "asgmcli", "doctor", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    report = json.loads(done.stdout)
    found = {(item["group"], item["name"]): item for item in report["findings"]}
    assert found["packages", "torch"]["found"][0].isdigit()
    assert {name for group, name in found if group == "packages"} == {*packages.NEEDED, *packages.OPTIONAL}
    assert "cores" in found["devices", "cpu"]["found"]
    assert found["media", "sound"]["mend"] is None
    assert {name for group, name in found if group == "folders"} == {"data", "runs"}
    assert {name for group, name in found if group == "extras"} == set(packages.EXTRAS)
    faults = [item for item in report["findings"] if item["mend"]]
    assert report["ok"] == (not faults)
    assert done.returncode == (3 if faults else 0)
    assert not list(tmp_path.iterdir())


def test_each_fault_is_a_line_with_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        Finding("packages", "torch", "2.11.0"),
        Finding("packages", "torchaudio", "does not load: undefined symbol", "pip install torchaudio==2.11.0"),
        Finding("packages", "av", "does not load: ImportError", "pip install av"),
    ]
    monkeypatch.setattr(packages, "look_at_packages", lambda: found)
    result = CliRunner().invoke(command, ["--runs", str(tmp_path), "--data", str(tmp_path)])
    assert result.exit_code == 3
    faults = [line for line in result.stdout.splitlines() if line.startswith("FAULT")]
    assert faults == [
        "FAULT torchaudio: does not load: undefined symbol. MEND: pip install torchaudio==2.11.0",
        "FAULT av: does not load: ImportError. MEND: pip install av",
    ]
    assert result.stdout.splitlines()[-1] == "2 fault(s)."
    assert "media" not in result.stdout  # without av there is none to look at
    found[1:] = []
    result = CliRunner().invoke(command, ["--runs", str(tmp_path), "--data", str(tmp_path)])
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "No fault found.")
    assert "media:" in result.stdout
