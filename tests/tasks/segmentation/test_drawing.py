"""The picture of several networks' masks: which videos, what is measured, what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from asgmcli.tasks.segmentation.figures import flow_colours
from tests.calling import asgm
from tests.tasks.segmentation.conftest import TEXT

PICTURE = """
name: shown
task: segmented
title: Shown
default_row: masks
rows: {masks: {title: masks}}
data: {dataset: demo_segmentation, recipe: pixels}
shown: {rows: [plain, ufe], clips: 2}
"""


@pytest.mark.long
def test_networks_that_are_missing_are_trained_and_two_videos_are_drawn(
    pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pixels, tmp_path / "data" / "demo_segmentation")
    text = TEXT.format(manifest="data/demo_segmentation/manifest.csv").replace(
        "epochs: 2, batch: 2, supervised_epochs: 1", "epochs: 1, batch: 2, max_steps: 1, supervised_epochs: 0"
    )
    Path("pixels.yaml").write_text(text)
    Path("shown.yaml").write_text(PICTURE)
    told = json.loads(asgm("train", "shown.yaml", "--json").stdout)
    assert set(told["metrics"]) == {"iou_plain", "iou_ufe"}
    run = Path("runs/shown/masks/seed0")
    assert {"segmented.png", "segmented.svg"} <= {path.name for path in run.iterdir()}
    clips = told["data"]["clips"]["demo_segmentation"]
    assert len(set(clips)) == 2
    assert all(clip.startswith("test_") for clip in clips)
    Path("shown.yaml").write_text(PICTURE.replace("clips: 2", "clips: 9"))
    assert "3 videos of split 'test' have masks" in asgm("train", "shown.yaml", "--overwrite", code=3).stderr


def test_flow_has_a_colour_a_direction_and_rest_is_white() -> None:
    flow = np.full((2, 1, 3), 0.5)
    flow[0, 0, 1], flow[0, 0, 2] = 0.7, 0.3
    colours = flow_colours(flow)[0]
    np.testing.assert_allclose(colours[0], 1.0)
    assert np.abs(colours[1] - colours[2]).max() > 0.5
