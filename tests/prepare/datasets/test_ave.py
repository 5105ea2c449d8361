"""AVE as it is distributed: its list, its splits, its shared videos, its features."""

from __future__ import annotations

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from asgmcli.cli import main
from asgmcli.data.features import open_features
from asgmcli.data.manifest import read_manifest
from asgmcli.data.segments import read_segments
from asgmcli.data.windows import read_frames, read_patches
from asgmcli.errors import DataError
from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets.ave import find, read_annotations, segment_labels
from asgmcli.prepare.datasets.listing import LayoutOptions
from asgmcli.prepare.event_set import event_set
from tests.golden import ave_inputs as inputs
from tests.prepare.prepare_files import TONE, distinct, pictures

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "ave_annotations.npz")
LIST = """Category&VideoID&Quality&StartTime&EndTime
Church bell&aaa&good&0&10
Male speech, man speaking&bbb&good&2&5
Church bell&ccc&good&0&0
Bark&bbb&good&6&8
Bark&ddd&good&1&9
Bark&eee&good&0&10
"""
ORDERS = {"train": [4, 0, 1], "val": [2], "test": [3]}


@pytest.mark.parametrize(("name", "seed", "header"), [("plain", 581, False), ("header", 582, True)])
def test_the_list_in_either_form(tmp_path: Path, name: str, seed: int, header: bool) -> None:
    path = tmp_path / "Annotations.txt"
    path.write_bytes(inputs.annotations(seed, 30, header).encode())
    events, classes = read_annotations(path)
    assert classes == [str(value) for value in GOLDEN[f"{name}_classes"]]
    assert [event.video for event in events] == [str(value) for value in GOLDEN[f"{name}_videos"]]
    np.testing.assert_array_equal(segment_labels(events, classes), GOLDEN[f"{name}_labels"])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("Bark&xxx&good&5&4", "line 2: start 5 is after end 4"),
        ("Bark&xxx&good&5&11", "line 2: end 11 is beyond the 10 s"),
        ("Bark&xxx&good&5", "line 2: 'Bark&xxx&good&5' is not Category&VideoID"),
        ("Bark&xxx&good&a&4", "line 2: start 'a' and end '4' are not whole seconds"),
        ("Bark,xxx,good,1,4", "line 2: 'Bark,xxx,good,1,4' is not"),
    ],
)
def test_a_list_that_does_not_parse(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "Annotations.txt"
    path.write_text(f"Bark&aaa&good&0&1\n{line}\n")
    with pytest.raises(DataError, match=fault):
        read_annotations(path)


def ave(root: Path, orders: dict[str, list[int]] = ORDERS) -> Path:
    """Two videos of rows in several splits, one without sound, one that nobody names, one that is missing."""
    (root / "AVE").mkdir(parents=True)
    (root / "Annotations.txt").write_text(LIST)
    clip = root / "clip.mp4"
    write_clip(clip, pictures(20), 2.0, np.tile(TONE, 5))
    content = clip.read_bytes()
    clip.unlink()
    for number, name in enumerate(("aaa", "bbb", "ddd", "zzz")):
        (root / "AVE" / f"{name}.mp4").write_bytes(distinct(content, number))
    write_clip(root / "AVE" / "ccc.mp4", pictures(20), 2.0, None)
    for split, rows in orders.items():
        with h5py.File(root / f"{split}_order.h5", "w") as file:
            file["order"] = np.array(rows)
    with h5py.File(root / "test_order_match.h5", "w") as file:
        file["order"] = np.array([0, 1, 2, 3])  # of another task
    return root


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["prepare", *map(str, arguments), "--workers", "1"])
    return done.exit_code, done.output


def test_every_row_is_a_clip_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = run("ave", "--root", ave(tmp_path / "raw"), "--out", out)
    assert code == 0, text
    manifest = read_manifest(out)
    assert [(row.id, row.split, row.label) for row in manifest.rows] == [
        ("0000_aaa", "train", "Church bell"),
        ("0001_bbb", "train", "Male speech, man speaking"),
        ("0004_ddd", "train", "Bark"),
        ("0003_bbb", "test", "Bark"),  # the same video in train: no row is lost to the rule on equal files
    ]
    assert manifest.classes == ["Church bell", "Male speech, man speaking", "Bark", "background"]
    segments = read_segments(manifest)
    assert [(span.start, span.end) for span in segments["0001_bbb"]] == [(2, 5)]
    reasons = {tuple(line.split(",")[::2][:2]) for line in (out / "quarantine.csv").read_text().splitlines()[1:]}
    assert reasons == {("0002_ccc", "no_audio"), ("0005_eee", "no_split"), ("zzz", "not_listed")}
    summary = json.loads((out / "summary.json").read_text())
    assert "splits: h5 (train_order.h5, val_order.h5, test_order.h5)" in summary["notes"]
    assert any("1 in train and test" in note for note in summary["notes"])


def test_a_file_that_ends_early_counts_as_ten_seconds(tmp_path: Path) -> None:
    """Its last frame repeats, its sound falls silent, and all ten seconds are judged, as AVE's labels have them."""
    root = ave(tmp_path / "raw")
    write_clip(root / "AVE" / "aaa.mp4", pictures(17), 2.0, np.tile(TONE, 5)[: 17 * 8000])
    code, text = run("ave", "--root", root, "--out", tmp_path / "out")
    assert code == 0, text
    manifest = read_manifest(tmp_path / "out")
    rows = {row.id: row for row in manifest.rows}
    assert [(rows[name].duration, rows[name].note) for name in ("0000_aaa", "0001_bbb")] == [(10, "short"), (10, "")]
    events = event_set(manifest, 10)
    assert events.labels[events.first["0000_aaa"]].tolist() == [0] * 10
    (window,) = events.source.of(rows["0000_aaa"])
    frames = read_frames(manifest, window, [8] * 10, 48)
    assert torch.equal(frames[8], frames[9])
    assert not torch.equal(frames[7], frames[8])
    patches = read_patches(manifest, window, 1.0)
    assert patches.shape == (10, 96, 64)
    torch.testing.assert_close(patches[9], torch.full((96, 64), math.log(0.01)))
    assert float(patches[8].max()) > 0


def test_files_of_equal_bytes_are_still_found(tmp_path: Path) -> None:
    root = ave(tmp_path / "raw")
    (root / "AVE" / "ddd.mp4").write_bytes((root / "AVE" / "bbb.mp4").read_bytes())
    run("ave", "--root", root, "--out", tmp_path / "out")
    assert "0004_ddd" not in {row.id for row in read_manifest(tmp_path / "out").rows}
    assert "duplicate_file" in (tmp_path / "out" / "quarantine.csv").read_text()


def test_shared_videos_can_be_dropped_from_train(tmp_path: Path) -> None:
    code, text = run("ave", "--root", ave(tmp_path / "raw"), "--out", tmp_path / "out", "--drop-shared")
    assert code == 0, text
    assert [row.id for row in read_manifest(tmp_path / "out").of_split("train")] == ["0000_aaa", "0004_ddd"]


def test_text_splits(tmp_path: Path) -> None:
    root = ave(tmp_path / "raw")
    lines = LIST.splitlines()[1:]
    for name, rows in (("trainSet", [0, 1]), ("valSet", [4]), ("testSet", [3])):
        (root / f"{name}.txt").write_text("\n".join(lines[row] for row in rows) + "\nBark&nobody&good&0&1\n")
    code, text = run("ave", "--root", root, "--out", tmp_path / "out", "--splits", "txt")
    assert code == 0, text
    assert [row.split for row in read_manifest(tmp_path / "out").rows] == ["train", "train", "val", "test"]
    assert (tmp_path / "out" / "quarantine.csv").read_text().count("not_annotated") == 3


@pytest.mark.parametrize(
    ("orders", "fault"),
    [
        ({**ORDERS, "val": [2, 0]}, "row 0 of the list is in train already"),
        ({**ORDERS, "test": [6]}, "row 6 of a list of 6 rows"),
        ({"train": [0], "test": [1]}, "val_order.h5: no such split"),
    ],
)
def test_splits_that_cannot_be(tmp_path: Path, orders: dict[str, list[int]], fault: str) -> None:
    code, text = run("ave", "--root", ave(tmp_path / "raw", orders), "--out", tmp_path / "out")
    assert code == 3
    assert fault in text
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_a_list_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No Annotations\.txt under"):
        find(tmp_path, LayoutOptions(own={}))


def features(folder: Path, rows: int = 6, broken: int | None = None) -> dict[str, np.ndarray]:
    folder.mkdir()
    random = np.random.default_rng(0)
    made = {"audio_feature": random.random((rows, 10, 128)), "visual_feature": random.random((rows, 10, 7, 7, 512))}
    if broken is not None:
        made["visual_feature"][broken, 3, 2, 1, 0] = np.nan
    for name, values in made.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["avadataset"] = values
    return made


def test_released_features_are_converted_into_the_manifests_order(tmp_path: Path) -> None:
    made = features(tmp_path / "features")
    out = tmp_path / "out"
    code, text = run("ave", "--root", ave(tmp_path / "raw"), "--out", out, "--features", tmp_path / "features")
    assert code == 0, text
    manifest = read_manifest(out)
    for name, values in (("audio_vggish", made["audio_feature"]), ("visual_vgg19", made["visual_feature"])):
        store = open_features(out / "features", name)
        assert list(store.places) == [row.id for row in manifest.rows]
        assert store.origin.manifest == manifest.sha256
        for row in manifest.rows:
            np.testing.assert_array_equal(store.of_clip(row.id)[0], values[int(row.id[:4])].astype(np.float16))
    assert json.loads((out / "summary.json").read_text())["features"]["kind"] == "released"


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (lambda folder: features(folder, broken=1), "row 1 holds NaN or infinity"),
        (lambda folder: features(folder, rows=4), r"'avadataset' is \[4, 10, 128\], not \[6, 10, 128\]"),
        (lambda folder: features(folder, rows=5), "a row for each of the list"),  # enough for the clips that are there
        (lambda folder: folder.mkdir(), r"No audio_feature\.h5"),
    ],
)
def test_released_features_that_cannot_be(tmp_path: Path, made: object, fault: str) -> None:
    import re

    made(tmp_path / "features")  # type: ignore[operator]
    out = tmp_path / "out"
    code, text = run("ave", "--root", ave(tmp_path / "raw"), "--out", out, "--features", tmp_path / "features")
    assert code == 3
    assert re.search(fault, " ".join(text.split()))
    assert not (out / "features" / "visual_vgg19.npy").exists()
