"""Figures of video parsing: counts, a clip's timeline, the F-score of each class; and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from asgmcli.data.manifest import read_manifest
from asgmcli.data.segments import read_segments
from asgmcli.metrics.parsing_segments import class_scores
from asgmcli.tasks.parsing.drawing import mean_class_scores
from tests.calling import asgm
from tests.golden import llp_inputs
from tests.parsing_files import CLASSES, write_recipe, write_set

RECIPE = """
name: tiny_figure
task: parsing_figure
title: Tiny
default_row: distribution
rows:
  distribution: {title: counts, set: {runs: []}}
  timeline: {title: a clip, set: {picture.kind: timeline}}
  classes: {title: by class, set: {picture.kind: classes}}
data: {dataset: own, manifest: MANIFEST}
picture: {kind: distribution}
runs: [{recipe: tiny_parsing, row: pooling, title: pooled}]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    write_set(folder / "own")
    write_recipe(folder, folder / "own")
    manifest = json.dumps(str(folder / "own" / "manifest.csv"))
    (folder / "tiny_figure.yaml").write_text(RECIPE.replace("MANIFEST", manifest))
    asgm("train", folder / "tiny_parsing.yaml", "--row", "pooling", "--runs", folder / "runs", "--device", "cpu")
    return folder


@pytest.mark.pictures
def test_counts_are_those_of_segments_csv(place: Path) -> None:
    asgm("train", place / "tiny_figure.yaml", "--runs", place / "runs")
    run = place / "runs/tiny_figure/distribution/seed0"
    manifest = read_manifest(place / "own")
    events = read_segments(manifest)
    pairs = {
        (row.id, span.label) for row in manifest.of_split("test") for span in events[row.id] if span.modality == "audio"
    }
    assert json.loads((run / "result.json").read_text())["metrics"]["heard"] == len(pairs)
    assert (run / "figure.png").stat().st_size > 5000
    assert all(name in (run / "figure.md").read_text() for name in CLASSES)


@pytest.mark.pictures
@pytest.mark.parametrize("row", ["timeline", "classes"])
def test_a_runs_answers_are_drawn(place: Path, row: str) -> None:
    asgm("train", place / "tiny_figure.yaml", "--row", row, "--runs", place / "runs")
    assert (place / f"runs/tiny_figure/{row}/seed0/figure.svg").stat().st_size > 5000


def test_clips_and_runs_that_are_not_there_are_told(place: Path) -> None:
    timeline = ("train", place / "tiny_figure.yaml", "--row", "timeline", "--runs", place / "more")
    runs = ("--runs", place / "runs", "--overwrite")
    told = asgm(*timeline, *runs, "--set", "example.number=99", code=3).stderr
    assert "example.number 99 is none of them" in told
    assert "no class 'cat'" in asgm(*timeline, *runs, "--set", "example.label=cat", code=3).stderr
    assert "shows 1 to 1 runs, not 0" in asgm(*timeline, "--set", "runs=[]", code=2).stderr


def test_the_mean_over_clips_is_a_slow_ones() -> None:
    truth = llp_inputs.events(71, 12)
    guess = llp_inputs.predicted(72, truth)
    found = mean_class_scores(guess.astype(bool), truth.astype(bool))
    each = np.stack([class_scores(guess[n : n + 1], truth[n : n + 1]) for n in range(12)])
    for kind in range(3):
        for number in range(25):
            values = each[:, kind, number][~np.isnan(each[:, kind, number])]
            assert np.isnan(found[kind, number]) if not len(values) else np.isclose(found[kind, number], values.mean())
