"""Flickr-SoundNet and VGG-SS: pictures, sounds and boxes in the layouts that are distributed."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from asgmcli.commands.prepare import command
from asgmcli.data.boxes import read_boxes
from asgmcli.data.manifest import Manifest, read_manifest
from asgmcli.errors import DataError
from asgmcli.media.clips import audio_window
from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets import flickr_soundnet, vggss
from asgmcli.prepare.datasets.listing import LayoutOptions, Listing
from asgmcli.prepare.datasets.pairs import Box

ANNOTATION = """<annotations>
  <annotator1><bbox><label>dog</label><xmin>0</xmin><ymin>64</ymin><xmax>128</xmax><ymax>256</ymax></bbox></annotator1>
  <annotator2>
    <bbox><label>dog</label><xmin>32</xmin><ymin>64</ymin><xmax>160</xmax><ymax>192</ymax></bbox>
    <bbox><label>dog</label><xmin>-4</xmin><ymin>0</ymin><xmax>300</xmax><ymax>16</ymax></bbox>
  </annotator2>
</annotations>"""


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The size of the data sets' own pictures; smaller ones would not show a reader that chokes on whole ones.
    Image.fromarray((np.mgrid[0:256, 0:320, 0:3].sum(0) + 9 * seed).astype(np.uint8)).save(path)


def sound(path: Path, seconds: float = 2.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        samples = np.random.default_rng(0).integers(-3000, 3000, int(16_000 * seconds), dtype=np.int16)
        file.writeframes(samples.tobytes())


def flickr_tree(root: Path) -> None:
    for number, name in enumerate(("111", "222", "333", "444")):
        picture(root / f"frames/{name}.jpg", number)
        sound(root / f"audio/{name}.wav")
    picture(root / "frames/555.jpg")
    (root / "Annotations").mkdir()
    for name in ("111", "222"):
        (root / f"Annotations/{name}.xml").write_text(ANNOTATION)


def splits(listing: Listing) -> dict[str, str]:
    return {clip.id: clip.split for clip in listing.candidates}


def prepared(name: str, root: Path, out: Path, *more: object) -> Manifest:
    arguments = [name, "--root", root, "--out", out, "--workers", 1, *more]
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return read_manifest(out)


def test_flickr_annotations_keep_who_drew_what(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(ANNOTATION)
    assert flickr_soundnet.read_boxes(tmp_path / "a.xml") == [
        Box(0.0, 0.25, 0.5, 1.0, 1),
        Box(0.125, 0.25, 0.625, 0.75, 2),
        Box(0.0, 0.0, 1.0, 0.0625, 2),
    ]
    for text in (
        "<a><b><bbox><label>x</label><xmin>1</xmin></bbox></b></a>",
        "<a>",
        "<a><b><bbox><l/><x>q</x></bbox></b></a>",
    ):
        (tmp_path / "bad.xml").write_text(text)
        with pytest.raises(DataError, match=r"bad\.xml"):
            flickr_soundnet.read_boxes(tmp_path / "bad.xml")


def test_flickr_pairs_with_boxes_are_tested_and_lists_choose(tmp_path: Path) -> None:
    flickr_tree(tmp_path)
    listing = flickr_soundnet.find(tmp_path, LayoutOptions())
    assert splits(listing) == {"111": "test", "222": "test", "333": "train", "444": "train"}
    assert [(entry.id, entry.reason, entry.detail) for entry in listing.left_out] == [("555", "missing", "no sound")]
    assert set(listing.files) == {"boxes.csv"}
    (tmp_path / "train.txt").write_text("444\n999\n")
    (tmp_path / "test.csv").write_text("222.jpg,x\n")
    lists = (("train", tmp_path / "train.txt"), ("test", tmp_path / "test.csv"))
    chosen = flickr_soundnet.find(tmp_path, LayoutOptions(lists=lists))
    assert splits(chosen) == {"222": "test", "444": "train"}
    assert {entry.id: entry.reason for entry in chosen.left_out} == {
        "111": "not_listed",
        "333": "not_listed",
        "555": "not_listed",
        "999": "missing",
    }
    held = flickr_soundnet.find(tmp_path, LayoutOptions(lists=lists[1:]))
    assert splits(held) == {"222": "test", "333": "train", "444": "train"}


def test_flickr_manifest_pairs_a_picture_with_its_sound(tmp_path: Path) -> None:
    flickr_tree(tmp_path)
    manifest = prepared("flickr_soundnet", tmp_path, tmp_path / "out", "--verify")
    row = next(row for row in manifest.rows if row.id == "111")
    assert manifest.resolve(row) == tmp_path / "frames/111.jpg"
    assert manifest.resolve_audio(row) == tmp_path / "audio/111.wav"
    assert (row.frames, row.duration, row.fps, row.width, row.height) == (1, 2.5, 0.4, 320, 256)
    # The sound that goes with the one frame is centred on the sound's middle.
    assert audio_window([0], row.fps, 1.0) == pytest.approx(0.75)
    boxes = read_boxes(manifest)
    np.testing.assert_allclose(
        boxes["111"][0].corners, [[0, 0.25, 0.5, 1], [0.125, 0.25, 0.625, 0.75], [0, 0, 1, 0.0625]]
    )
    assert boxes["111"][0].annotators == (1, 2, 2)
    lines = (tmp_path / "out/boxes.csv").read_text().splitlines()
    assert lines[0] == "id,frame,x1,y1,x2,y2,annotator"
    assert [line.split(",")[-1] for line in lines[1:4]] == ["1", "2", "2"]


def test_vggss_boxes_lie_on_the_middle_frame_of_clips(tmp_path: Path) -> None:
    clip = np.zeros((9, 48, 64, 3), np.uint8)
    tone = 0.1 * np.sin(np.arange(16_000) / 5).astype(np.float32)
    (tmp_path / "video").mkdir()
    for number, name in enumerate(
        ("aaaaaaaaaaa_000001", "bbbbbbbbbbb_000020", "ccccccccccc_000003", "ddddddddddd_000004")
    ):
        write_clip(tmp_path / f"video/{name}.mp4", clip + number, 9.0, tone)
    annotation = {
        "file": "aaaaaaaaaaa_000001",
        "class": "dog barking ",
        "bbox": [[-0.1, 0.25, 0.5, 1.5], [0, 0, 0.125, 0.5]],
    }
    gone = {"file": "eeeeeeeeeee_000005", "class": "cat purring", "bbox": [[0, 0, 1, 1]]}
    (tmp_path / "vggss.json").write_text(json.dumps([annotation, gone]))
    (tmp_path / "vggsound.csv").write_text("bbbbbbbbbbb,20,x,test\nccccccccccc,3,x,train\nddddddddddd,4,x,train\n")
    manifest = prepared("vggss", tmp_path, tmp_path / "out")
    assert {row.id: (row.split, row.label) for row in manifest.rows} == {
        "aaaaaaaaaaa_000001": ("test", "dog barking"),
        "ccccccccccc_000003": ("train", ""),
        "ddddddddddd_000004": ("train", ""),
    }
    assert manifest.classes == ["cat purring", "dog barking"]
    boxes = read_boxes(manifest)
    assert list(boxes) == ["aaaaaaaaaaa_000001"]
    np.testing.assert_allclose(boxes["aaaaaaaaaaa_000001"][4].corners, [[0, 0.25, 0.5, 1], [0, 0, 0.125, 0.5]])
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["coverage"]["test"]["kept"] == 1
    assert summary["coverage"]["test"]["official"] == 2
    left = (tmp_path / "out/quarantine.csv").read_text()
    assert "bbbbbbbbbbb_000020" in left
    assert "eeeeeeeeeee_000005,,missing" in left


def test_vggss_without_its_list_or_with_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vggss\.json[\s\S]*hche11"):
        vggss.find(tmp_path, LayoutOptions())
    for text in ("{", '[{"file": "a"}]', '[{"file": "a", "class": "x", "bbox": [[0, 0, 1]]}]', '"text"'):
        (tmp_path / "vggss.json").write_text(text)
        with pytest.raises(DataError, match="not VGG-SS's list"):
            vggss.find(tmp_path, LayoutOptions())
