"""Recognition guided by the motion localizer: maps made once, carried by the samples, followed by the masks."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from asgmcli.data.manifest import read_manifest
from asgmcli.data.maps import MapReader
from asgmcli.errors import DataError
from asgmcli.localize.clip_maps import motion_clip_maps
from asgmcli.masks.heatmap import heatmap_mask
from asgmcli.recipe.read import dump_yaml, load_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.runs.session import Session
from asgmcli.tasks.recognition import build_data, build_state, step, train_step
from asgmcli.train.seed import step_generator
from asgmcli.train.task import Context
from tests.tiny_training import tiny, write_recipe

MOTION = {"masks__kind": "localization", "localizer": {"kind": "motion"}, "train__supervised_epochs": 0}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moving") / "demo"
    shutil.copytree(demo, folder)
    return folder


def session(folder: Path) -> tuple[Session, io.StringIO]:
    said = io.StringIO()
    return Session(folder, folder, CPU, Console(file=said, width=300)), said


def test_maps_are_made_once_as_the_localizer_gives_them(own_demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, own_demo, **MOTION)
    assert recipe.moved
    doing, said = session(tmp_path)
    doing.ensure(recipe)
    assert "30 clips" in said.getvalue()
    manifest = read_manifest(own_demo)
    reader = MapReader(manifest)
    assert not reader.missing(manifest.of_split("train"))
    assert len(list((own_demo / "motion_maps").rglob("*.npz"))) == 30
    row = manifest.of_split("train")[3]
    found = reader.maps(row, [0, 5, 11])
    expected = motion_clip_maps(manifest.resolve(row))
    np.testing.assert_allclose(found, np.stack([expected.at(f / row.fps) for f in (0, 5, 11)]), atol=2e-3)
    newer = manifest.resolve(row)
    os.utime(newer)
    again, said = session(tmp_path)
    again.ensure(recipe)
    assert "1 clips" in said.getvalue()
    last, said = session(tmp_path)
    last.ensure(recipe)
    assert said.getvalue() == ""


def test_the_mask_is_drawn_by_the_carried_maps(data: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, data, **MOTION, thresholds__value=0.01)
    session(tmp_path)[0].ensure(recipe)
    loaders = build_data(recipe)
    state = build_state(recipe, loaders, Context(CPU, tmp_path))
    assert state.localizer is None
    batch = next(loaders.epoch(0))
    unlabeled = batch.unlabeled
    assert unlabeled.maps.shape == (4, 4, 14, 14)
    assert unlabeled.wave is None
    shape = torch.Size((4, 4, 9, 8))
    tokens = torch.zeros(len(unlabeled.number), 4, 9, 8)
    maps = step._maps(state, unlabeled, step.StrongViews(tokens, tokens, tokens), step_generator(0, 5))
    mask = step._mask(state, maps, (3, 3), shape, 0.4, step_generator(0, 5))
    expected = heatmap_mask(unlabeled.maps, grid=(3, 3), keep=0.4, generator=step_generator(0, 5))
    assert torch.equal(mask, expected)
    state.begin_step(0, 0)
    terms = train_step(state, batch)
    assert torch.isfinite(terms["loss"])
    assert float(terms["mixup"].detach()) > 0


def test_a_run_with_the_motion_guide(data: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, data, **MOTION, train__max_steps=3, data__workers=1, data__keep_decoded=False)
    doing, _ = session(tmp_path)
    doing.ensure(recipe)
    result = doing.run(recipe)
    assert result["steps"] == 3
    assert not result["failures"]
    again = load_recipe(tmp_path / "tiny" / "full" / "seed0" / "recipe.yaml")
    assert isinstance(again, RecognitionRecipe)
    assert again.moved


def test_clips_without_maps_are_replaced_and_named(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("motion_maps"))
    manifest = read_manifest(folder)
    rows = manifest.of_split("train")
    manifest.resolve(rows[-1]).write_bytes(b"no video")
    recipe = tiny(tmp_path, folder, **MOTION)
    doing, said = session(tmp_path)
    doing.ensure(recipe)
    assert "1 clips have no maps" in said.getvalue()
    for row in rows:
        manifest.resolve(row).write_bytes(b"no video")
    shutil.rmtree(folder / "motion_maps")
    with pytest.raises(DataError, match="no training clip can be read"):
        session(tmp_path)[0].ensure(recipe)


def test_a_tube_needs_no_maps(demo: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, demo)
    path.write_text(path.read_text() + "localizer: {kind: motion}\n")
    recipe = load_recipe(path)
    assert isinstance(recipe, RecognitionRecipe)
    assert not recipe.moved
    session(tmp_path)[0].ensure(recipe)
    assert not (demo / "motion_maps").exists()
    assert build_data(recipe).train.views.maps is None
    assert "kind: motion" not in dump_yaml(recipe)
