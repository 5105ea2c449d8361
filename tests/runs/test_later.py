"""Work that follows a run, in its own steps; a command's time left counts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from asgmcli.console import make_console
from asgmcli.recipe.read import load_recipe
from asgmcli.runs.later import later_phases, later_share, operations_of
from asgmcli.runs.session import Session
from asgmcli.runs.sweep import _left
from asgmcli.status import Phase
from tests.tiny_training import tiny, write_recipe, write_start


def test_later_runs_cost_what_their_operations_say(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo)
    assert later_phases(100, 20, [recipe, recipe], [50, 200]) == [
        Phase("then tiny", 1, 10.0),
        Phase("then tiny", 1, 40.0),
    ]
    assert later_phases(100, 20, [recipe], [None])[0].of is None
    assert later_phases(None, 20, [recipe], [7])[0].of is None
    assert later_share([100, 300], [200, 600]) == 2.0
    assert later_share([100, None], [200]) is None
    assert later_share([], []) is None
    longer = tiny(tmp_path, demo, train__epochs=6)
    short, long = operations_of([recipe, longer], tmp_path / "runs", tmp_path)
    assert short is not None
    assert long is not None
    assert 1.5 < long / short < 3


def test_jobs_left_and_what_follows() -> None:
    assert _left(60.0, 3, [], 4) == 20.0
    assert _left(60.0, 3, [], 4, later=0.5) == 60.0
    assert _left(60.0, 3, [], 4, later=None) is None
    assert _left(60.0, 0, [], 4) is None


def test_a_needed_run_knows_what_comes_after_it(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_start(tmp_path)
    changes = ('model.video.init={"recipe": "start"}', "train.max_steps=2")
    recipe = load_recipe(write_recipe(tmp_path, demo), None, changes)
    session = Session(tmp_path / "runs", tmp_path, torch.device("cpu"), make_console(quiet=True))
    session.ensure(recipe)
    told = json.loads((tmp_path / "runs/start/start/seed0/status.json").read_text())
    assert [phase["name"] for phase in told["phases"]] == ["train", "evaluate", "then tiny"]
    assert told["state"] == "finished"
    assert told["phases"][-1]["of"] == 1
