"""Boxes seen through a view, as maps on its grid of tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.data.augment import Geometry, apply_geometry
from asgmcli.data.boxes import read_boxes
from asgmcli.data.guides import TrueMaps, box_coverage
from asgmcli.data.manifest import read_manifest
from asgmcli.errors import DataError
from asgmcli.tasks.recognition import build_data
from tests.tiny_training import tiny

ORACLE = {"masks__kind": "localization", "localizer": {"kind": "oracle"}, "train__supervised_epochs": 0}


def test_coverage_by_hand() -> None:
    # On 2 x 4 cells: the left half of the upper row's second cell, and all of its third; a quarter of those below.
    found = box_coverage([0.375, 0.0, 0.75, 0.625], (2, 4))
    np.testing.assert_allclose(found, [[0, 0.5, 1, 0], [0, 0.125, 0.25, 0]])
    np.testing.assert_allclose(box_coverage([-1, -1, 2, 2], (3, 3)), np.ones((3, 3)))
    assert not box_coverage([1.1, 0, 1.3, 1], (3, 3)).any()


@pytest.mark.parametrize("flip", [False, True])
def test_the_map_is_the_box_painted_and_seen_through_the_view(demo: Path, flip: bool) -> None:
    manifest = read_manifest(demo)
    maps, boxes = TrueMaps(manifest, (3, 3)), read_boxes(manifest)
    rng = np.random.default_rng(3)
    seen = 0
    for row in manifest.of_split("train")[:8]:
        frames = [0, 5, 11]
        painted = torch.zeros(3, row.height, row.width, 3, dtype=torch.uint8)
        for place, frame in enumerate(frames):
            x1, y1, x2, y2 = (boxes[row.id][frame].corners[0] * row.width).round().astype(int)
            painted[place, y1:y2, x1:x2] = 255
        # A crop of its own size is not resized, so that the painted view is exact.
        geometry = Geometry(*map(int, rng.integers(row.width - 47, size=2)), 48, 48, flip)
        view = apply_geometry(painted, geometry, 48)[:, :1].float() / 255
        expected = torch.nn.functional.avg_pool2d(view, 16)[:, 0]
        found = maps.of_view(row, frames, geometry, (row.height, row.width))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        seen += int(found.any())
    assert seen > 4


def test_samples_carry_the_truth_and_every_guide_shares_the_views(demo: Path, tmp_path: Path) -> None:
    batches = {}
    for name, changes in {
        "oracle": ORACLE,
        "tube": {"train__supervised_epochs": 0, "augment__geometric": False},
        "as before": {"train__supervised_epochs": 0},
    }.items():
        recipe = tiny(tmp_path, demo, augment__operations=2, augment__magnitude=20, **changes)
        batches[name] = next(build_data(recipe).epoch(0)).unlabeled
    assert batches["oracle"].maps.shape == (4, 4, 3, 3)
    assert batches["oracle"].wave is None
    assert batches["tube"].maps is None
    for key in ("weak", "strong", "warp", "dropped", "strong_audio"):
        assert torch.equal(getattr(batches["oracle"], key), getattr(batches["tube"], key)), key
    assert torch.equal(batches["tube"].weak, batches["as before"].weak)
    assert not torch.equal(batches["tube"].strong, batches["as before"].strong)


def test_clips_without_a_box_are_named_before_training(own_demo: Path, tmp_path: Path) -> None:
    folder = own_demo
    lines = (folder / "boxes.csv").read_text().splitlines(keepends=True)
    (folder / "boxes.csv").write_text("".join(line for line in lines if not line.startswith("train_00004,")))
    manifest = read_manifest(folder)
    with pytest.raises(DataError, match=r"no box of 1 training clips, the first train_00004"):
        TrueMaps(manifest, (3, 3)).check(manifest.of_split("train"))
    (folder / "boxes.csv").unlink()
    with pytest.raises(DataError, match="no boxes here"):
        build_data(tiny(tmp_path, folder, **ORACLE))
