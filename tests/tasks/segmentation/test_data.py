"""Which frames are labelled, which are not, and what is refused before training."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asgmcli.data.frames import FrameRow, read_frames
from asgmcli.data.manifest import ManifestRow, read_manifest
from asgmcli.errors import DataError
from asgmcli.tasks.segmentation.data import (
    build_data,
    group_notes,
    judged_windows,
    labeled_clips,
    whole_windows,
    windows_of,
)
from tests.tasks.segmentation.conftest import Make, make


def clip(name: str, label: str) -> ManifestRow:
    return ManifestRow(name, "", label, "train", 5, 1, 5, 8, 8, "", "")


def frames(count: int) -> list[FrameRow]:
    return [FrameRow(k + 1, f"{k}.png", "", "", k) for k in range(count)]


def test_a_share_of_the_labels_is_drawn_in_each_category_by_largest_remainder() -> None:
    rows = [clip(f"{label}{n}", label) for label, count in (("a", 10), ("b", 7), ("c", 3)) for n in range(count)]
    chosen = labeled_clips(rows, 0.25, seed=0)  # 2.5, 1.75, .75: five in all
    counts = {label: sum(name.startswith(label) for name in chosen) for label in "abc"}
    assert counts == {"a": 2, "b": 2, "c": 1}
    assert chosen == labeled_clips(rows[::-1], 0.25, seed=0)
    assert chosen != labeled_clips(rows, 0.25, seed=1)
    assert len(labeled_clips([clip(str(n), "") for n in range(3452)], 0.05, 0)) == 173


def test_windows_keep_every_frame() -> None:
    assert [len(part) for part in windows_of(frames(12), 5)] == [5, 5, 2]
    assert [[f.place for f in part] for part in whole_windows(frames(7), 5)] == [[0, 1, 2, 3, 4], [2, 3, 4, 5, 6]]
    assert [[f.place for f in part] for part in whole_windows(frames(1), 3)] == [[0, 0, 0]]


def test_first_frames_are_labelled_and_the_others_are_not(recipe_of: Make) -> None:
    data = build_data(recipe_of())
    assert [window.frames[0].frame for window in data.views.labeled] == [1] * 4
    assert len(data.views.unlabeled) == 16
    assert data.steps == 2
    first, second = list(data.epoch(0)), list(data.epoch(1))
    assert all(batch.unlabeled is None for batch in first)
    batch = second[0]
    assert batch.labeled is not None
    assert batch.unlabeled is not None
    assert batch.labeled.image.shape == (2, 1, 3, 32, 32)
    assert batch.labeled.known.all()
    assert batch.unlabeled.strong.shape == (2, 1, 3, 32, 32)
    assert batch.unlabeled.box.shape == (2, 32, 32)
    assert batch.labeled.audio.shape == (2, 1, 192)
    again = next(iter(data.epoch(1)))
    assert again.unlabeled is not None
    assert torch.equal(again.unlabeled.strong, batch.unlabeled.strong)


def test_a_share_leaves_the_rest_or_the_same_clips_others_without(recipe_of: Make) -> None:
    assert len(build_data(recipe_of("ufe", "data.labeled_share=0.5")).views.unlabeled) == 18
    same = build_data(recipe_of("ufe", "data.labeled_share=0.5", "data.unlabeled=same_clips"))
    assert len(same.views.labeled) == 2
    assert len(same.views.unlabeled) == 8
    every = build_data(recipe_of("plain", "data.labeled_frames=all", "train.frames=5"))
    batch = next(iter(every.epoch(0)))
    assert batch.labeled is not None
    assert batch.labeled.known.all()
    one = next(iter(build_data(recipe_of("plain", "train.frames=5")).epoch(0)))
    assert one.labeled is not None
    assert one.labeled.known.sum(dim=1).tolist() == [1, 1]


def test_nothing_left_without_a_label_is_told(recipe_of: Make) -> None:
    with pytest.raises(DataError, match=r"every training frame's mask is used"):
        build_data(recipe_of("ufe", "data.labeled_frames=all"))


def test_a_smaller_last_group_is_told(recipe_of: Make) -> None:
    data = build_data(recipe_of())
    windows = judged_windows(data.recipe, data.reader, "test")
    assert group_notes(data.recipe, windows) == []
    (note,) = group_notes(recipe_of("ufe", "evaluate.group=2"), windows)
    assert "the last group has 1 of the 3 videos" in note


@pytest.fixture
def own(pixels: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pixels, tmp_path / "own"))


def test_frames_of_another_size_are_refused(recipe_of: Make, own: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"frames of 32x32 pixels \(.*\) where input.size is 64"):
        build_data(recipe_of("ufe", "input.size=64"))
    name = read_frames(read_manifest(own))["train_00000"][0].mask
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(own / name)
    data = build_data(make(own, tmp_path, "plain", "data.max_failures=0"))
    with pytest.raises(DataError, match=r"16x16 pixels where input.size is 32"):
        list(data.epoch(0))


def test_flow_that_is_missing_short_or_gone_is_refused(own: Path, tmp_path: Path) -> None:
    np.save(own / "flow" / "train_00001.npy", np.zeros((4, 2, 32, 32), np.uint8))
    with pytest.raises(DataError, match=r"train_00001.npy: flow of uint8 \[4, 2, 32, 32\]"):
        build_data(make(own, tmp_path))
    text = (own / "frames.csv").read_text()
    (own / "frames.csv").write_text("\n".join(line.rpartition(",")[0] + "," for line in text.splitlines()[1:]))
    header = text.splitlines()[0]
    (own / "frames.csv").write_text(header + "\n" + (own / "frames.csv").read_text() + "\n")
    with pytest.raises(DataError, match=r"no clip has optical flow, which flow.encoder=stem reads") as refused:
        build_data(make(own, tmp_path))
    assert "asgm prepare demo_segmentation" in str(refused.value)
    assert "--flow" not in str(refused.value)  # no option of a generated data set
    assert build_data(make(own, tmp_path, "plain")).steps == 2


def test_a_clip_without_flow_has_no_motion(own: Path, tmp_path: Path) -> None:
    lines = (own / "frames.csv").read_text().splitlines()
    kept = [line.replace("flow/train_00002.npy", "") for line in lines]
    (own / "frames.csv").write_text("\n".join(kept) + "\n")
    data = build_data(make(own, tmp_path))
    rows = data.reader.frames["train_00002"]
    assert (data.reader.flow("train_00002", rows) == 0.5).all()
    assert data.reader.flow("train_00001", data.reader.frames["train_00001"]).std() > 0


def test_a_clip_without_sound_is_told_and_may_be_looked_at_without(own: Path, tmp_path: Path) -> None:
    shutil.rmtree(own / "features")
    lines = (own / "manifest.csv").read_text().splitlines()
    lines[1] = lines[1].replace("sound/train_00000.wav", "")
    (own / "manifest.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"clip 'train_00000' has no sound"):
        build_data(make(own, tmp_path, "plain"))
    data = build_data(make(own, tmp_path, "plain", "audio.kind=none"))
    assert not data.reader.audio("train_00000", data.reader.frames["train_00000"]).any()
