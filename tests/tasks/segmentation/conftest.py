"""A small data set of the segmentation demo and recipes on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.segmentation import SegmentationRecipe
from tests.conftest import SHARED, contents

TEXT = """
name: pixels
task: segmentation
title: Pixels
default_row: ufe
rows:
  ufe: {{title: both}}
  plain: {{title: labelled, set: {{flow.encoder: none, train.unlabeled_ratio: 0}}}}
  avs: {{title: AVSegFormer, set: {{model.kind: avsegformer, losses.mask.bce: 0.0, losses.mask.dice: 1.0}}}}
data: {{dataset: demo_segmentation, manifest: '{manifest}', keep_decoded: true}}
input: {{size: 32}}
audio: {{kind: ear}}
model: {{backbone: resnet18, width: 4, channels: 32, queries: 2, layers: 1, ffn: 8, mask_hidden: 8}}
flow: {{encoder: stem}}
losses: {{match: {{weight: 0.5, unlabeled_weight: 0.2}}}}
evaluate: {{frames: 5, batch: 2}}
train: {{epochs: 2, batch: 2, supervised_epochs: 1, optimizer: {{kind: adamw, lr: 1e-3, schedule: constant}}}}
"""
Make = Callable[..., SegmentationRecipe]


@pytest.fixture(scope="session")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a data set of 4, 2 and 3 clips of 32 pixels. All tests read it and none may write there."""
    from asgmcli.synthetic.demo_segmentation import generate

    folder = tmp_path_factory.mktemp("pixels") / "demo_segmentation"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asgmcli.synthetic.demo_segmentation.draw_preview", lambda path, _: path.write_bytes(b"blank"))
        generate(folder, train=4, val=2, test=3, size=32, workers=1)
    for row in ("ufe",):
        recipe = make(folder, folder.parent, row)
        from asgmcli.prepare.source import open_manifest
        from asgmcli.tasks.segmentation.sounds import embed

        embed(recipe, open_manifest(recipe.data))
    SHARED[folder] = contents(folder)
    return folder


def make(data: Path, folder: Path, row: str = "ufe", *overrides: str) -> SegmentationRecipe:
    path = folder / "pixels.yaml"
    path.write_text(TEXT.format(manifest=data / "manifest.csv"))
    recipe = load_recipe(path, row, overrides)
    assert isinstance(recipe, SegmentationRecipe)
    return recipe


@pytest.fixture
def recipe_of(pixels: Path, tmp_path: Path) -> Make:
    """Return the recipe of a row with overrides."""
    return lambda row="ufe", *overrides: make(pixels, tmp_path, row, *overrides)
