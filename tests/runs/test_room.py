"""The room that a run asks for is what it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from asgmcli.data.manifest import read_manifest, write_manifest
from asgmcli.errors import DataError
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.runs import room
from asgmcli.runs.room import Taken, check_room, decoded_bytes, lacking, room_for, size, training_files
from asgmcli.tasks import recognition
from asgmcli.train.run import run_of
from tests.tiny_training import tiny, trainer_of

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("kind", [pytest.param("sgd", marks=pytest.mark.long), "adamw"])
def test_a_checkpoint_and_weights_are_as_large_as_said(kind: str, demo: Path, tmp_path: Path) -> None:
    recipe = tiny(
        tmp_path, demo, train__max_steps=1, train__optimizer__kind=kind, model__video__dim=64, model__audio__dim=64
    )
    checkpoint, weights = training_files(recipe)
    (taken,) = room_for(recipe, tmp_path / "runs")
    assert taken.bytes == int(1.02 * (2 * checkpoint + weights))
    trainer_of(recipe, tmp_path / "runs").fit()
    run = run_of(recipe, tmp_path / "runs")
    # Names, settings and the classifier come on top.
    assert checkpoint < run.state_path.stat().st_size < 1.15 * checkpoint
    written = [(run.folder / f"{name}.safetensors").stat().st_size for name in ("model", "student")]
    assert weights < sum(written) < 1.05 * weights
    assert room_for(recipe, tmp_path / "runs") == []  # it is finished
    run.result_path.unlink()
    (left,) = room_for(recipe, tmp_path / "runs")
    assert left.bytes == taken.bytes - run.state_path.stat().st_size


def test_sizes_of_shipped_recipes() -> None:
    # ViT-B twice and a fusion, 221 million parameters: student, teacher and momentum.
    checkpoint, weights = training_files(load_recipe(RECIPES / "table1_ucf51_1shot.yaml"))
    assert checkpoint == pytest.approx(3 * 4 * 221e6, rel=0.01)
    assert weights == pytest.approx(2 * 4 * 221e6, rel=0.01)  # both networks are kept
    # Adam keeps two numbers for each of 22.9 million parameters, and there is no teacher.
    assert training_files(load_recipe(RECIPES / "localizer_flickr10k.yaml"))[0] == pytest.approx(
        3 * 4 * 22.9e6, rel=0.01
    )
    assert training_files(load_recipe(RECIPES / "figure3_masks.yaml")) == (0, 0)


@pytest.mark.long
def test_decoded_clips_take_what_is_said_and_nothing_twice(demo: Path, tmp_path: Path) -> None:
    whole = read_manifest(demo)
    rows = [replace(row, path=str(demo / row.path), audio=str(demo / row.path)) for row in whole.rows]
    folder = tmp_path / "data"
    write_manifest(folder, rows, whole.classes)
    recipe = tiny(
        tmp_path,
        folder,
        data__share_decoded=True,
        data__keep_decoded=False,
        train__max_steps=16,
        clip__short_side=[24, 28],
    )
    assert isinstance(recipe, RecognitionRecipe)
    kept = recognition.decoded(recipe)
    assert kept is not None
    asked = decoded_bytes(recipe.data, kept)
    # 40 clips of 16 frames of 28 pixels, and 2 s of sound.
    assert asked == 40 * (16 * 28 * 28 * 3 + 2 * 16000 * 2)
    found = {taken.folder: taken.bytes for taken in room_for(recipe, tmp_path / "runs")}
    assert found[folder] == asked
    trainer_of(recipe, tmp_path / "runs").fit()
    files = list((folder / "decoded").rglob("*.npy"))
    content = sum(path.stat().st_size for path in files)
    assert decoded_bytes(recipe.data, kept) + content == pytest.approx(
        asked, rel=0.05
    )  # a header each, and the sound's padding
    assert len(files) > 60


def test_what_shares_a_disk_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000_000))
    two = [Taken(tmp_path / "runs", 600_000_000, "one"), Taken(tmp_path / "data", 600_000_000, "other")]
    assert lacking(two[:1]) == lacking(two[1:]) == lacking([]) == []
    (line,) = lacking(two)
    assert "The training writes about 1.2 GB, 1.0 GB are free:\n  one\n  other\n" in line
    (many,) = lacking(9 * two)
    assert "and 13 more" in many
    with pytest.raises(DataError, match=r"writes about 7\.\d GB, 1\.0 GB are free"):
        check_room([load_recipe(RECIPES / "table1_ucf51_1shot.yaml")], tmp_path / "not" / "there")
    assert not (tmp_path / "not").exists()


def test_sizes_are_told_as_people_read_them() -> None:
    assert [size(value) for value in (20_000, 512_000_000, 3_500_000_000)] == ["0.0 MB", "512.0 MB", "3.5 GB"]
