"""Data sets that a recipe needs are generated once, and one of an earlier version is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from asgmcli.data.manifest import read_manifest
from asgmcli.errors import DataError
from asgmcli.recipe.sections import SplitData
from asgmcli.runs.generated import ensure_prepared

SMALL = {"train": 2, "val": 0, "test": 1, "size": 32}


def test_a_data_set_is_generated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = SplitData(dataset="demo", options={**SMALL, "companions": 0.5, "unbiased": 1, "seed": 4})
    ensure_prepared(data, Console(quiet=True))
    folder = Path("data/demo_companions0.5_seed4")
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
    assert [row.split for row in read_manifest(folder).rows] == ["train", "train", "test", "test_shuffled", "unbiased"]
    ensure_prepared(data, Console(quiet=True))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")} == stamps


def test_the_demo_of_an_earlier_version_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ensure_prepared(SplitData(dataset="demo", options=SMALL), Console(quiet=True))
    plain = SplitData(dataset="demo")
    ensure_prepared(plain, Console(quiet=True))
    marker = Path("data/demo/settings.json")
    settings = json.loads(marker.read_text())
    earlier = json.dumps({name: value for name, value in settings.items() if name != "world"})
    for text in (earlier, "[]", "no JSON"):
        marker.write_text(text)
        with pytest.raises(DataError, match=r"data/demo holds the demo of an earlier version.*demo --overwrite"):
            ensure_prepared(plain, Console(quiet=True))
    marker.write_text(earlier)
    with pytest.raises(DataError, match=r"an earlier version.*asgm prepare demo --train 2 .*--size 32 --overwrite"):
        ensure_prepared(SplitData(dataset="demo", options=SMALL), Console(quiet=True))
    marker.unlink()  # a manifest that a user wrote
    ensure_prepared(plain, Console(quiet=True))
