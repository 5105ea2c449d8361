"""AVSBench's MS3 and its distant frames of VGGSound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from asgmcli.data.frames import read_flow, read_frames, read_picture
from asgmcli.data.manifest import ManifestRow, read_manifest, write_manifest
from asgmcli.media.audio import read_audio
from asgmcli.media.vggish_mel import vggish_patches
from asgmcli.media.write import write_clip
from tests.avs_golden import golden
from tests.calling import asgm


def ms3(root: Path) -> None:
    data = root / "Multi-sources" / "ms3_data"
    for name, split in (("abcdefghijk_10", "train"), ("bbcdefghijk_20", "test")):
        frames, masks = data / "visual_frames" / name, data / "gt_masks" / split / name
        for folder in (frames, masks, data / "audio_log_mel" / split):
            folder.mkdir(parents=True, exist_ok=True)
        for k in range(1, 6):
            Image.new("RGB", (224, 224), (20 * k, 0, len(split))).save(frames / f"{name}.mp4_{k}.png")
            Image.new("L", (224, 224)).save(masks / f"{name}_{k}.png")  # silence: nothing sounds
        (data / "audio_log_mel" / split / f"{name}.pkl").write_bytes(golden("files")["pickle"].tobytes())
    (root / "Multi-sources" / "ms3_meta_data.csv").write_text("abcdefghijk_10,train\nbbcdefghijk_20,test\n")


def vggsound(folder: Path) -> Path:
    folder.mkdir(parents=True)
    film = np.zeros((20, 36, 48, 3), np.uint8)
    film[:, :, :, 0] = np.arange(20)[:, None, None] * 12
    sound = np.linspace(0, 0.8, 32_000)
    rows = []
    for name, label in (
        ("abcdefghijk_000030", "dog barking"),  # a clip of MS3
        ("xbcdefghijk_000001", "dog barking"),
        ("ybcdefghijk_000002", "people whispering"),
        ("zbcdefghijk_000003", "playing violin"),
    ):
        write_clip(folder / f"{name}.mp4", film, 10.0, sound, crf=10)
        rows.append(ManifestRow(name, f"{name}.mp4", label, "train", 2.0, 10, 20, 48, 36, f"{name}.mp4", ""))
    write_manifest(folder, rows, ["dog barking", "people whispering", "playing violin"])
    return folder / "manifest.csv"


def prepare(root: Path, *options: str, code: int = 0) -> Result:
    return asgm("prepare", "avsbench_ms3", "--root", root, "--out", root / "out", "--workers", 1, *options, code=code)


@pytest.mark.long
def test_every_frame_is_labelled_and_an_empty_mask_is_right(tmp_path: Path) -> None:
    ms3(tmp_path)
    prepare(tmp_path)
    manifest = read_manifest(tmp_path / "out")
    assert manifest.classes == []
    assert [(row.id, row.split, row.label, row.note) for row in manifest.rows] == [
        ("abcdefghijk_10", "train", "", ""), ("bbcdefghijk_20", "test", "", ""),
    ]  # fmt: skip
    assert all(frame.mask for frame in read_frames(manifest)["abcdefghijk_10"])


@pytest.mark.long
def test_distant_frames_come_from_the_middle_of_clips_of_its_categories(tmp_path: Path) -> None:
    ms3(tmp_path)
    result = prepare(tmp_path, "--distant", str(vggsound(tmp_path / "vggsound")))
    assert "2 clips of S4's categories, all there are" in " ".join(result.output.split())
    manifest = read_manifest(tmp_path / "out")
    distant = [row for row in manifest.rows if row.note == "distant"]
    assert [row.id for row in distant] == ["xbcdefghijk_000001", "zbcdefghijk_000003"]
    assert all((row.split, row.frames, row.width, row.height) == ("train", 1, 224, 224) for row in distant)
    (frame,) = read_frames(manifest)[distant[0].id]
    assert (frame.frame, frame.mask) == (1, "")
    picture = read_picture(manifest.folder / frame.image)
    assert picture.shape == (224, 224, 3)
    assert abs(int(picture[..., 0].mean()) - 120) < 6  # frame 10 of 20, at 1 s
    wave = read_audio(manifest.resolve_audio(distant[0]) or tmp_path, 16_000)
    assert len(vggish_patches(wave)) == 1
    assert wave.mean() == pytest.approx(0.4 * (1.0 - 0.9375 + 0.4875), abs=0.03)


@pytest.mark.long
def test_a_list_may_name_them(tmp_path: Path) -> None:
    ms3(tmp_path)
    (tmp_path / "data.json").write_text(json.dumps(["ybcdefghijk_000002.mp4", "gone"]))
    manifest = str(vggsound(tmp_path / "vggsound"))
    prepare(tmp_path, "--distant", manifest, "--distant-list", str(tmp_path / "data.json"))
    rows = [row.id for row in read_manifest(tmp_path / "out").rows if row.note == "distant"]
    assert rows == ["ybcdefghijk_000002"]
    assert "give both" in prepare(tmp_path, "--distant-list", "x.txt", "--overwrite", code=3).output


@pytest.mark.long
def test_distant_frames_have_flow_where_the_data_set_has(tmp_path: Path) -> None:
    ms3(tmp_path)
    videos = tmp_path / "Multi-sources" / "ms3_data" / "raw_videos"
    videos.mkdir()
    film = np.random.default_rng(0).integers(0, 255, (50, 32, 32, 3)).astype(np.uint8)
    write_clip(videos / "abcdefghijk_10.mp4", film, 10.0)
    prepare(tmp_path, "--distant", str(vggsound(tmp_path / "vggsound")))
    manifest = read_manifest(tmp_path / "out")
    frames = read_frames(manifest)
    assert read_flow(manifest.folder / frames["abcdefghijk_10"][0].flow, 5, (224, 224)).any()
    assert read_flow(manifest.folder / frames["xbcdefghijk_000001"][0].flow, 1, (224, 224)).any()
