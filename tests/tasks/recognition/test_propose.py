"""The recipe that is proposed for own clips: valid for every size, and of the data's and the machine's measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import UsageError
from asgmcli.media.write import write_clip
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.runs.own import write_recipe
from asgmcli.tasks.recognition.propose import SIZES, measured, propose
from asgmcli.train.propose import Machine, OwnClips, Wish

CPU = Machine("cpu", 0.0, 2)
CLIPS = OwnClips("mine", Path("data/mine/manifest.csv"), {"a": 5, "b": 5}, 30, 20, 0.92, 25.0, 120, 1.0)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("own")
    frames = np.full((4, 48, 64, 3), 100, dtype=np.uint8)
    frames[:, :, 32:] = 151
    write_clip(folder / "a.mp4", frames, 4.0, None, crf=0)
    row = ManifestRow("a", "a.mp4", "a", "train", 1.0, 4.0, 4, 64, 48, "", "")
    return Manifest(folder, [row], ["a"], folder / "manifest.csv", "")


def test_pictures_are_normalised_by_their_own_contrast(manifest: Manifest) -> None:
    found = measured(manifest)
    assert found.mean == pytest.approx([125.5 / 255] * 3, abs=0.02)
    assert found.std == pytest.approx([2 * 25.5 / 255] * 3, abs=0.02)


@pytest.mark.parametrize(
    ("unlabeled", "lacks"), [(30, "the unlabelled clips"), (0, "learning from clips as if unlabelled")]
)
def test_what_labels_alone_lack_is_what_there_was(manifest: Manifest, unlabeled: int, lacks: str) -> None:
    found = propose(replace(CLIPS, unlabeled=unlabeled), manifest, CPU, Wish("tiny"))
    assert found is not None
    rows: Any = found.recipe["rows"]
    assert rows["labels_alone"]["title"] == f"without {lacks}"


def test_silent_clips_have_no_localizer(manifest: Manifest) -> None:
    with pytest.raises(UsageError, match="--localizer motion: no clip has sound"):
        propose(replace(CLIPS, heard=0.0), manifest, CPU, Wish(localizer="motion"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("heard", [1.0, 0.0])
def test_every_size_is_a_recipe_whose_rows_can_be_read(
    manifest: Manifest, tmp_path: Path, size: str, heard: float
) -> None:
    found = propose(replace(CLIPS, heard=heard), manifest, CPU, Wish(size))
    assert found is not None
    path = tmp_path / "recipe.yaml"
    write_recipe(found, path)
    assert f"asgm train {path} --row all" in path.read_text()
    recipe = load_recipe(path)
    assert isinstance(recipe, RecognitionRecipe)
    rows = {name: load_recipe(path, name) for name in recipe.rows}
    assert [row.semi_supervised for row in rows.values()][:2] == [True, False]  # type: ignore[attr-defined]
    assert recipe.listens == (heard > 0)
    assert recipe.clip.frames * recipe.clip.stride <= 25  # within the clip
    steps = max(-(-10 // recipe.train.batch), -(-30 // (recipe.train.batch * recipe.train.unlabeled_ratio)))
    assert recipe.train.epochs * steps >= 1200 or recipe.train.epochs == 400
    assert all(title.title.startswith("without ") for title in list(recipe.rows.values())[1:])


@pytest.mark.parametrize(
    ("machine", "size"),
    [
        (CPU, "tiny"),
        (Machine("cuda", 6.0, 8), "vit_ti"),
        (Machine("cuda", 16.0, 8), "vit_s"),
        (Machine("cuda", 80.0, 8), "vit_b"),
    ],
)
def test_the_size_follows_the_machine(manifest: Manifest, machine: Machine, size: str) -> None:
    found = propose(CLIPS, manifest, machine, Wish(start="none"))
    assert found is not None
    assert (found.size, found.start) == (size, "none")


def test_a_short_training_warms_up_and_averages_over_a_tenth_of_it(manifest: Manifest, tmp_path: Path) -> None:
    trains = {}
    for epochs in (2, 6, None):
        found = propose(CLIPS, manifest, CPU, Wish(start="none", epochs=epochs))
        assert found is not None
        write_recipe(found, tmp_path / "recipe.yaml")
        trains[epochs] = load_recipe(tmp_path / "recipe.yaml").train  # type: ignore[attr-defined]
    short, middle, whole = trains.values()  # of 8 steps an epoch
    assert (whole.optimizer.warmup_steps, whole.ema_decay) == (100, 0.98)
    assert (short.optimizer.warmup_steps, short.ema_decay) == (1, 0.5)
    assert (middle.optimizer.warmup_steps, middle.ema_decay) == (4, pytest.approx(1 - 10 / 48, abs=1e-3))
    assert (short.epochs, short.supervised_epochs, middle.epochs, middle.supervised_epochs) == (2, 1, 6, 3)


def test_wishes_are_followed_or_refused(manifest: Manifest) -> None:
    found = propose(CLIPS, manifest, CPU, Wish("vit_s", "vit_small_patch16_224.dino", "demo_localizer"))
    assert found is not None
    assert found.recipe["localizer"] == {"recipe": "demo_localizer"}
    assert "vit_small_patch16_224.dino" in str(found.recipe["model"])
    with pytest.raises(UsageError, match="there are tiny, vit_ti"):
        propose(CLIPS, manifest, CPU, Wish("huge"))
    with pytest.raises(UsageError, match="no such weight file"):
        propose(CLIPS, manifest, CPU, Wish(start="gone.pth"))
