"""Own videos with bags of labels: long and short ones, with times and without, and lists that cannot be."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from asgmcli.data.features import features_folder, open_features
from asgmcli.data.manifest import read_manifest
from asgmcli.data.segments import read_segments
from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets import parsing
from tests.calling import asgm
from tests.prepare.datasets.test_llp import SmallNetworks


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 10, 23, 23 and 4 s, the last without sound; tests get copies."""
    folder = tmp_path_factory.mktemp("videos")
    for name, seconds in (("a.mp4", 10), ("long.mp4", 23), ("untimed.mp4", 23), ("short.mp4", 4)):
        frames = np.repeat(np.arange(seconds, dtype=np.uint8) * 10, 4)[:, None, None, None]
        wave = None if name == "short.mp4" else np.full(seconds * 16_000, 0.25, np.float32)
        write_clip(folder / name, np.broadcast_to(frames, (4 * seconds, 32, 32, 3)).copy(), 4.0, wave)
    return folder


@pytest.fixture
def root(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the videos, and their list."""
    monkeypatch.setattr(parsing, "load_networks", lambda files: SmallNetworks())
    folder = Path(shutil.copytree(videos, tmp_path / "videos"))
    (tmp_path / "list.csv").write_text(
        "path,labels,split\na.mp4,dog;rain,train\nlong.mp4,dog; horn,test\nuntimed.mp4,dog,train\nshort.mp4,rain,val\n"
        "gone.mp4,dog,train\n"
    )
    (tmp_path / "times.csv").write_text(
        "path,start,end,label,modality\nlong.mp4,2,14,dog,audio\nlong.mp4,20.5,23,horn,visual\nshort.mp4,0,4,rain,visual\n"
    )
    return folder


def prepare(root: Path, *more: object, code: int = 0) -> Result:
    base = ("prepare", "parsing", "--root", root, "--list", root.parent / "list.csv", "--out", root.parent / "own")
    return asgm(*base, "--workers", 1, "--max-bad", "50%", *more, code=code)


def test_videos_become_windows_with_bags_and_times(root: Path) -> None:
    prepare(root, "--times", root.parent / "times.csv")
    out = root.parent / "own"
    manifest = read_manifest(out)
    assert manifest.classes == ["dog", "horn", "rain"]
    assert {row.id: (row.split, row.note) for row in manifest.rows} == {
        "a.mp4": ("train", ""),
        "long.mp4": ("test", "short"),
        "short.mp4": ("val", "short"),
    }
    with (out / "quarantine.csv").open(newline="") as file:
        assert {line["id"]: line["reason"] for line in csv.DictReader(file)} == {
            "untimed.mp4": "too_long",
            "gone.mp4": "missing",
        }
    events = read_segments(manifest)
    assert [(span.start, span.end, span.label, span.modality) for span in events["long.mp4"]] == [
        (0.0, 30.0, "dog", "clip"),
        (0.0, 30.0, "horn", "clip"),
        (2.0, 14.0, "dog", "audio"),
        (20.5, 23.0, "horn", "visual"),
    ]
    store = open_features(features_folder(out), "image_resnet152")
    bright = store.of_clip("long.mp4")[..., 0] * 255
    assert bright.shape == (3, 10)
    assert np.abs(bright.ravel()[:23] - 10 * np.arange(23)).max() < 8
    assert np.abs(bright.ravel()[23:] - 220).max() < 8  # the last frame repeats
    sound = open_features(features_folder(out), "audio_vggish").of_clip("long.mp4")[..., 0].ravel()
    assert sound[:22].min() > 0.1
    assert sound[24:].max() < 1e-3
    assert not open_features(features_folder(out), "audio_vggish").of_clip("short.mp4").any()


def test_without_times_only_naming_can_be_judged_and_splits_are_drawn(root: Path) -> None:
    (root.parent / "list.csv").write_text("path,labels\na.mp4,dog\nshort.mp4,rain\n")
    prepare(root, "--val-share", "0", "--test-share", "0")
    summary = json.loads((root.parent / "own/summary.json").read_text())
    assert summary["counts"]["train"] == {"": 2}
    assert any("bag_f" in note for note in summary["notes"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "path,label\na.mp4,dog\n", "list.csv:1: no column labels"),
        ("list.csv", "path,labels\na.mp4,dog\na.mp4,rain\n", "list.csv:3: a.mp4 is named twice"),
        ("list.csv", "path,labels\na.mp4, ; \n", "list.csv:2: a.mp4 has no label"),
        ("list.csv", "path,labels,split\na.mp4,dog,some\n", "split 'some' is none of"),
        ("list.csv", "path,labels,split\na.mp4,dog,train,x\n", "list.csv:2: not 3 columns"),
        ("list.csv", "path,labels,split\na.mp4,dog\n", "list.csv:2: not 3 columns"),
        ("times.csv", "path,start,end,label,modality\na.mp4,0,1,dog\n", "times.csv:2: not 5 columns"),
        ("times.csv", "path,start,end,label,modality\nb.mp4,0,1,dog,audio\n", "times.csv:2: 'b.mp4' is not in --list"),
        ("times.csv", "path,start,end,label,modality\na.mp4,0,1,cat,audio\n", "'cat' is none of the labels of a.mp4"),
        ("times.csv", "path,start,end,label,modality\na.mp4,0,1,dog,clip\n", "modality 'clip' is none of"),
        ("times.csv", "path,start,end,label,modality\na.mp4,3,1,dog,audio\n", "an event from 3 to 1 s"),
        ("times.csv", "path,start,end,label,modality\na.mp4,x,1,dog,audio\n", "not seconds"),
    ],
)
def test_lists_that_cannot_be_are_refused_with_their_line(root: Path, name: str, text: str, message: str) -> None:
    (root.parent / name).write_text(text)
    assert message in prepare(root, "--times", root.parent / "times.csv", code=3).stderr
