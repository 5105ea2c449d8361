"""Stored clips: their masks are those that are judged, and can be watched with the sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.media.probe import probe
from asgmcli.metrics.segmentation import mask_iou
from asgmcli.prepare.source import open_manifest
from asgmcli.tasks.segmentation.data import open_reader
from asgmcli.tasks.segmentation.load import TrainedSegmenter
from asgmcli.tasks.segmentation.model import Segmenter, build_network
from asgmcli.tasks.segmentation.sounds import embed
from tests.tasks.segmentation.conftest import Make


@pytest.mark.pictures
@pytest.mark.parametrize("sets", [(), ("evaluate.frames=2", "predict.threshold=0.4")])
def test_masks_are_those_of_the_evaluation_with_their_sound(
    recipe_of: Make, sets: tuple[str, ...], tmp_path: Path
) -> None:
    recipe = recipe_of("ufe", *sets)
    torch.manual_seed(0)
    trained = TrainedSegmenter(recipe, Segmenter(build_network(recipe)).eval(), 4.0, torch.device("cpu"))
    manifest = open_manifest(recipe.data)
    row = manifest.of_split("test")[1]
    found = trained.predict_row(manifest, row)
    reader = open_reader(recipe, manifest, embed(recipe, manifest))
    rows = reader.frames[row.id]
    wanted = []
    for part in (rows,) if not sets else (rows[:2], rows[2:4], rows[4:]):
        inputs = (reader.images(part), reader.audio(row.id, part), reader.flow(row.id, part))
        with torch.no_grad():
            wanted.append(trained.network(*(x[None] for x in inputs)).logits[0].sigmoid())
    np.testing.assert_array_equal(found.answer.masks, torch.cat(wanted).numpy() > recipe.predict.threshold)
    assert found.answer.times.tolist() == [0.9375, 1.9375, 2.9375, 3.9375, 4.9375]
    assert found.rows[2] == [round(2.9375, 3), round(float(found.answer.masks[2].mean()), 4)]
    if not sets:
        examined = trained.examine(manifest).run(lambda _: None, {})[1]
        iou = mask_iou(torch.logit(torch.cat(wanted)), reader.masks(rows)[0]).mean()
        assert {line[0]: line[1] for line in examined.rows}[row.id] == pytest.approx(100 * float(iou), abs=0.01)
        for ending, write in found.files.items():
            write(tmp_path / f"x{ending}")
        overlay = probe(tmp_path / "x_overlay.mp4")
        assert (overlay.frames, overlay.audio_rate) == (5, 16_000)
        assert (tmp_path / "x_strip.png").exists()
