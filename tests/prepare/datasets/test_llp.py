"""LLP's lists as they are distributed, and a made tree of arrays with every fault."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

from asgmcli.data.features import features_folder, open_features
from asgmcli.data.manifest import Manifest, read_manifest
from asgmcli.data.segments import read_segments
from asgmcli.errors import DataError
from asgmcli.media.write import write_clip
from asgmcli.prepare import parsing_store
from asgmcli.prepare.datasets import llp
from asgmcli.prepare.datasets.llp import CLASSES, read_lists
from asgmcli.tasks.parsing.data import chance_notes
from asgmcli.tasks.parsing.truth import Truth
from asgmcli.workers import spread
from tests.calling import asgm
from tests.golden import llp_inputs

MADE = json.loads((llp_inputs.HERE / "llp_lists.json").read_text())
ROOT = Path(__file__).parents[3]
DISTRIBUTED = os.environ.get("ASGM_LLP", "")
STORES = ("audio_vggish", "image_resnet152", "motion_r2plus1d18")
WIDTHS = {"vggish": (10, 128), "res152": (80, 2048), "r2plus1d_18": (10, 512)}


def write_lists(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in MADE["files"].items():
        (folder / name).write_text(text)
    return folder


def test_the_lists_are_read_as_the_released_evaluation_does(tmp_path: Path) -> None:
    lists = read_lists(write_lists(tmp_path / "data").parent)
    expected = MADE["expected"]
    assert list(CLASSES) == expected["classes"]
    assert list(lists.clips) == list(expected["clips"])
    for name, known in expected["clips"].items():
        clip = lists.clips[name]
        assert (clip.id, clip.split, clip.features, clip.labels.tolist()) == (
            name,
            known["split"],
            known["features"],
            known["labels"],
        )
        if clip.split == "train":
            assert clip.events is None
            continue
        assert clip.events is not None
        for modality, kind in enumerate(("audio", "visual")):
            assert ["".join(map(str, row)) for row in clip.events[modality]] == known[kind]
    ignored = Counter(entry.reason for entry in lists.ignored)
    assert ignored == {"no_clip": 2, "no_length": 2}
    assert [entry.id for entry in lists.ignored if entry.reason == "no_clip"] == expected["ignored"]["no such clip"]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("AVVP_train.csv", "Cat\n", "Kitten\n", r"AVVP_train.csv:4: 'Kitten' is none of LLP's 25 classes"),
        ("AVVP_train.csv", "event_labels", "labels", r"AVVP_train.csv:1: no column event_labels"),
        ("AVVP_eval_audio.csv", "\t7\t10\tCello", "\t7.5\t10\tCello", r"onset '7.5' is not a whole second of 0 to 10"),
        ("AVVP_eval_audio.csv", "\t7\t10\tCello", "\t7\t11\tCello", r"offset '11' is not a whole second"),
        ("AVVP_eval_audio.csv", "\t7\t10\tCello", "\t7\tCello", r"AVVP_eval_audio.csv:2: 3 columns where"),
        ("AVVP_test_pd.csv", "Qc7SET3_L2p_164_174", "kkSpi9tXf4e_260_270", r"is in val already"),
    ],
)
def test_broken_lists_are_refused_with_their_line(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    path = write_lists(tmp_path) / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_lists(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such list"):
        read_lists(tmp_path)


def write_arrays(folder: Path, name: str, seed: int = 0, **shapes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    for kind, shape in WIDTHS.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        values = rng.random(shapes.get(kind, shape), dtype=np.float32)
        np.save(folder / kind / f"{name}.npy", values)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with the made-up lists, and arrays with one fault a clip."""
    root = write_lists(tmp_path / "root")
    feats = root / "deep/feats"
    for number, name in enumerate(clip["features"] for clip in MADE["expected"]["clips"].values()):
        write_arrays(feats, name, number)
    train = [name for name, clip in MADE["expected"]["clips"].items() if clip["split"] == "train"]
    frames = {0: 71, 1: 72, 2: 79, 3: 82}
    for number, count in frames.items():
        write_arrays(feats, train[number][:11], number, res152=(count, 2048))
    write_arrays(feats, train[4][:11], 4, vggish=(10, 127))
    spoilt = feats / "r2plus1d_18" / f"{train[5][:11]}.npy"
    values = np.load(spoilt)
    values[3, 7] = np.nan
    np.save(spoilt, values)
    cut = feats / "res152" / f"{train[6][:11]}.npy"
    cut.write_bytes(cut.read_bytes()[:5000])
    (feats / "vggish" / f"{train[7][:11]}.npy").unlink()
    return root


def prepare(root: Path, out: Path, *more: object, code: int = 0) -> Result:
    return asgm("prepare", "llp", "--root", root, "--out", out, "--workers", 1, "--max-bad", "90%", *more, code=code)


def test_arrays_are_examined_averaged_and_stored(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "llp"
    prepare(tree, out)
    manifest = read_manifest(out)
    assert manifest.classes == list(CLASSES)
    with (out / "quarantine.csv").open(newline="") as file:
        left_out = {line["id"]: line["reason"] for line in csv.DictReader(file) if line["reason"] not in NOT_CLIPS}
    names = list(MADE["expected"]["clips"])
    assert left_out == {
        names[0]: "truncated",
        names[4]: "wrong_shape",
        names[5]: "not_finite",
        names[6]: "unreadable",
        names[7]: "missing",
    }
    notes = {row.id: row.note for row in manifest.rows}
    assert [notes[names[number]] for number in (1, 2, 3)] == ["filled", "filled", "cut"]
    row = next(row for row in manifest.rows if row.id == names[3])
    assert (row.duration, row.fps, row.frames, row.width, row.audio, row.label) == (10.0, 8.0, 80, 0, "", "")
    store = open_features(features_folder(out), "image_resnet152")
    assert store.array.dtype == np.float16
    feats = tree / "deep/feats/res152"
    means = np.load(feats / f"{names[9][:11]}.npy").reshape(10, 8, 2048).mean(1)
    assert np.allclose(store.of_clip(names[9])[0], means, atol=1e-3)
    filled = np.load(feats / f"{names[1][:11]}.npy")
    assert np.allclose(store.of_clip(names[1])[0, 9], filled[71], atol=1e-3)
    events = read_segments(manifest)
    assert {span.modality for span in events[names[1]]} == {"clip"}
    assert {span.modality for span in events["HkI6-KbdwCY_91_101"]} == {"clip", "audio", "visual"}
    assert sum(span.modality == "clip" for span in events["fDc6TPfwU2u_145_155"]) == 1
    summary = json.loads((out / "summary.json").read_text())
    assert summary["listed"] == {"train": 8, "val": 5, "test": 8}
    assert summary["features"] == {"released": 16, "extracted": 0, "dtype": "float16"}
    train = MADE["files"]["AVVP_train.csv"].encode()
    assert summary["lists"]["AVVP_train.csv"] == hashlib.sha256(train).hexdigest()
    assert summary["left_out"]["no_length"] == 2


NOT_CLIPS = ("no_length", "no_clip")


def test_float32_keeps_every_digit_and_shards_join_to_the_same_files(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "whole", "--dtype", "float32")
    for shard in (1, 2):
        prepare(tree, tmp_path / "parts", "--dtype", "float32", "--shard", f"{shard}/2")
    prepare(tree, tmp_path / "parts", "--dtype", "float32", "--merge")
    for name in ("manifest.csv", "segments.csv", "quarantine.csv", "features/audio_vggish.npy"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes(), name
    store = open_features(features_folder(tmp_path / "whole"), "audio_vggish")
    name = list(MADE["expected"]["clips"])[9]
    assert np.array_equal(store.of_clip(name)[0], np.load(tree / f"deep/feats/vggish/{name[:11]}.npy"))


def test_an_interrupted_store_goes_on(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asgmcli.prepare import parsing_store

    read, whole = [], parsing_store.released_rows

    def counted(paths: Any) -> Any:
        read.append(paths)
        if len(read) == 8:
            raise KeyboardInterrupt
        return whole(paths)

    monkeypatch.setattr(parsing_store, "CHUNK", 3)
    monkeypatch.setattr(parsing_store, "released_rows", counted)
    prepare(tree, tmp_path / "llp", code=130)
    assert not (features_folder(tmp_path / "llp") / "audio_vggish.json").exists()
    prepare(tree, tmp_path / "llp")
    assert len(read) == 8 + 16 - 6
    monkeypatch.undo()
    prepare(tree, tmp_path / "straight")
    for name in ("audio_vggish.npy", "image_resnet152.npy", "motion_r2plus1d18.npy"):
        one, other = (tmp_path / folder / "features" / name for folder in ("llp", "straight"))
        assert one.read_bytes() == other.read_bytes()


class SmallNetworks:
    """In place of the released networks: their widths, the brightness of a second."""

    frames_a_second, short_side = 8, 32

    def of_picture(self, frames: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        bright = torch.from_numpy(frames.reshape(10, -1).mean(axis=1, dtype=np.float32) / 255)
        return bright[:, None].expand(10, 2048), bright[:, None].expand(10, 512)

    def of_sound(self, wave: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.abs(wave.reshape(10, -1)).mean(axis=1))[:, None].expand(10, 128)


def test_clips_without_arrays_are_made_from_their_videos(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llp, "load_networks", lambda files: SmallNetworks())
    names = list(MADE["expected"]["clips"])
    frames = np.full((40, 32, 32, 3), 128, np.uint8)
    for number in (5, 9):  # one with a NaN in its arrays, one with good arrays
        write_clip(tree / "deep" / f"{names[number][:11]}.mp4", frames, 4.0, np.zeros(160_000, np.float32))
    prepare(tree, tmp_path / "llp", "--extract")
    manifest = read_manifest(tmp_path / "llp")
    rows = {row.id: row for row in manifest.rows}
    assert rows[names[5]].note == "extracted"
    assert rows[names[9]].note == ""
    assert rows[names[9]].path.endswith(".mp4")
    assert rows[names[9]].audio == rows[names[9]].path
    store = open_features(features_folder(tmp_path / "llp"), "image_resnet152")
    assert np.allclose(store.of_clip(names[5]), 0.5, atol=0.02)
    summary = json.loads((tmp_path / "llp/summary.json").read_text())
    assert summary["features"]["extracted"] == 1

    monkeypatch.setattr(parsing_store, "_BUILT", [])
    with spread(lambda function, tasks, *_: ((task, function(task)) for task in tasks)):  # stands for other machines
        answers = dict(_made(manifest, [names[5]]))
    for name, values in zip(parsing_store.STORES, answers[names[5]], strict=True):
        made = open_features(features_folder(tmp_path / "llp"), name).of_clip(names[5])
        np.testing.assert_array_equal(made, values.astype(made.dtype).reshape(made.shape))


def _made(manifest: Manifest, ids: list[str]) -> Iterator[tuple[str, parsing_store.Rows]]:
    todo = [(row, 1) for row in manifest.rows if row.id in ids]
    return zip(ids, parsing_store._made(manifest, todo, SmallNetworks), strict=True)


def test_neither_arrays_nor_videos_is_told_with_the_mend(tmp_path: Path) -> None:
    root = write_lists(tmp_path / "root")
    assert "Name theirs with --features" in prepare(root, tmp_path / "llp", code=3).stderr
    assert "no folder res152" in prepare(root, tmp_path / "llp", "--features", tmp_path, code=2).stderr
    assert "NAME=FILE" in prepare(root, tmp_path / "llp", "--weights", "vgg=x", code=2).stderr
    told = prepare(root, tmp_path / "llp", "--weights", "vggish=none.pth", code=3).stderr
    assert "none.pth: no such weight file of vggish" in told


KILLED = """
import os, signal, sys
from asgmcli.cli import main
from asgmcli.prepare import parsing_store, selection
from asgmcli.prepare import parsing_store
from asgmcli.prepare.datasets import llp
from tests.prepare.datasets.test_llp import SmallNetworks

place, left, *words = sys.argv[1:]
left, made = int(left), 0

def deadly(at, own):
    def function(*args):
        global left, made
        made += at != "look"
        left -= place == at
        if left == 0 and place == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return own(*args)
    return function

parsing_store.CHUNK = 2
parsing_store.released_rows = deadly("store", parsing_store.released_rows)
parsing_store.make_rows = deadly("extract", parsing_store.make_rows)
llp.load_networks = lambda files: SmallNetworks()
selection.Journal.add = deadly("look", selection.Journal.add)
try:
    main(words)
finally:
    print("made", made)
"""


@pytest.mark.long
@pytest.mark.parametrize("extract", [False, True])
def test_a_killed_preparation_goes_on(tree: Path, tmp_path: Path, extract: bool) -> None:
    """Killed while arrays are examined, while the store is written, and while a video's features are made."""
    names = list(MADE["expected"]["clips"])
    if extract:
        for number in (4, 5, 6, 7):
            frames = np.full((40, 32, 32, 3), 20 * number, np.uint8)
            write_clip(tree / "deep" / f"{names[number][:11]}.mp4", frames, 4.0, np.zeros(160_000, np.float32))

    def call(code: int, out: str, place: str, left: int) -> str:
        words = ["prepare", "llp", "--root", tree, "--out", tmp_path / out, "--workers", 1, "--max-bad", "90%"]
        words += ["--extract"] if extract else []
        command = [sys.executable, "-c", KILLED, place, left, *words]
        done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    whole = 20 if extract else 16
    assert f"made {whole}" in call(0, "straight", "never", 0)
    call(-signal.SIGKILL, "killed", "look", 7)
    if extract:
        call(-signal.SIGKILL, "killed", "extract", 3)
    call(-signal.SIGKILL, "killed", "store", 4)
    # Two clips are written at a time, one that is made of a video at once.
    left = int(call(0, "killed", "never", 0).rpartition("made ")[2])
    assert left <= whole - (5 if extract else 2)
    stores = [f"features/{name}.{end}" for name in STORES for end in ("npy", "json")]
    for name in ("manifest.csv", "quarantine.csv", "segments.csv", "summary.json", *stores):
        one, other = ((tmp_path / folder / name).read_bytes() for folder in ("straight", "killed"))
        assert one == other, name
    assert not list((tmp_path / "killed").rglob("*.part*"))


@pytest.mark.skipif(not DISTRIBUTED, reason="$ASGM_LLP names no folder of LLP's lists as they are distributed")
def test_the_distributed_lists_give_the_known_counts() -> None:
    """Counts of the test split, and the F-scores that need no network, to a tenth."""
    lists = read_lists(Path(DISTRIBUTED))
    assert Counter(clip.split for clip in lists.clips.values()) == {"train": 10000, "val": 649, "test": 1200}
    assert Counter(entry.reason for entry in lists.ignored) == {"no_length": 6, "no_clip": 24}
    assert len({(entry.path, entry.id) for entry in lists.ignored if entry.reason == "no_clip"}) == 8 + 7
    judged = [clip for clip in lists.clips.values() if clip.split == "test"]
    events = np.stack([clip.events for clip in judged if clip.events is not None]).astype(bool)
    bags = np.stack([clip.labels for clip in judged])
    heard, seen = events[:, 0], events[:, 1]
    pairs = [heard.any(-1), seen.any(-1), (heard & seen).any(-1), (heard | seen).any(-1)]
    assert [int(pair.sum()) for pair in pairs] == [2083, 1444, 1330, 2191]
    assert (int(heard.sum()), int(seen.sum()), int(bags.sum())) == (14576, 11789, 2178)
    assert [int(((bags > 0) & ~pair).sum()) for pair in pairs[:2]] == [121, 757]
    nothing, bag = chance_notes(Truth(bags.astype(np.float32), events, np.ones((len(bags), 10), bool)))
    assert "segment 0.5 10.1 14.5 8.4 0.0, event 0.5 10.1 14.5 8.4 0.0" in nothing
    assert "segment 76.1 60.3 52.6 63.0 71.7, event 63.0 55.8 44.7 54.5 61.6" in bag
