"""Own clips with masks: videos and folders of frames, any size, any number of frames."""

from __future__ import annotations

import csv
import shutil
import wave
from pathlib import Path

import numpy as np
from click.testing import Result
from PIL import Image

from asgmcli.data.frames import mask_array, read_flow, read_frames, read_picture
from asgmcli.data.manifest import read_manifest
from asgmcli.media.write import write_clip
from tests.calling import asgm


def tone(path: Path, seconds: float) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((9000 * np.sin(np.arange(int(16_000 * seconds)) / 5)).astype("<i2").tobytes())


def clips(root: Path) -> Path:
    film = np.random.default_rng(0).integers(0, 255, (24, 48, 80, 3)).astype(np.uint8)
    (root / "train" / "filmed" / "masks").mkdir(parents=True)
    write_clip(root / "train" / "filmed" / "film.mp4", film, 8.0, np.sin(np.arange(48_000) / 7) * 0.3)
    mask = np.zeros((48, 80), np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save(root / "train" / "filmed" / "masks" / "2.png")
    folder = root / "test" / "pictured"
    (folder / "frames").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.png")):
        Image.fromarray(film[number]).save(folder / "frames" / name)
    tone(folder / "sound.wav", 2.2)
    (root / "test" / "nothing").mkdir()
    return root


def prepare(root: Path, *options: str, code: int = 0) -> Result:
    out = root.parent / "out"
    return asgm("prepare", "segmentation", "--root", root, "--out", out, "--workers", 1, *options, code=code)


def reasons(folder: Path) -> dict[str, str]:
    with (folder / "quarantine.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def test_videos_and_frames_of_any_size_become_clips(tmp_path: Path) -> None:
    prepare(clips(tmp_path / "raw"))
    manifest = read_manifest(tmp_path / "out")
    assert [(row.id, row.split, row.frames, row.width) for row in manifest.rows] == [
        ("filmed", "train", 3, 224), ("pictured", "test", 2, 224),
    ]  # fmt: skip
    frames = read_frames(manifest)
    assert [bool(frame.mask) for frame in frames["filmed"]] == [False, True, False]
    mask = mask_array(manifest.folder / frames["filmed"][1].mask)
    assert mask.shape == (224, 224)
    assert mask[:, :112].all()
    assert not mask[:, 112:].any()
    assert read_picture(manifest.folder / frames["pictured"][1].image).shape == (224, 224, 3)
    assert read_flow(manifest.folder / frames["filmed"][0].flow, 3, (224, 224)).std() > 0
    assert frames["pictured"][0].flow == ""
    assert reasons(tmp_path / "out") == {"nothing": "not_a_clip"}


def test_a_mask_of_no_frame_or_of_another_size_and_a_silent_clip(tmp_path: Path) -> None:
    raw = clips(tmp_path / "raw")
    masks = raw / "train" / "filmed" / "masks"
    Image.new("L", (80, 48)).save(masks / "4.png")
    (raw / "test" / "pictured" / "sound.wav").unlink()
    shutil.copytree(raw / "train" / "filmed", raw / "train" / "sized")
    (raw / "train" / "sized" / "masks" / "4.png").unlink()
    Image.new("L", (60, 48)).save(raw / "train" / "sized" / "masks" / "1.png")
    shutil.copytree(raw / "train" / "sized", raw / "train" / "good")
    (raw / "train" / "good" / "masks" / "1.png").unlink()
    prepare(raw, "--max-bad", "1.0")
    found = reasons(tmp_path / "out")
    assert found["filmed"] == "missing_frame"
    assert found["sized"] == "wrong_size"
    assert found["pictured"] == "no_audio"
    (masks / "4.png").rename(masks / "first.png")
    assert "a mask is named by its frame's number" in " ".join(prepare(raw, "--overwrite", code=3).output.split())


def test_nothing_there_says_what_should_be(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    assert "a folder a clip" in prepare(tmp_path / "raw", code=3).output
