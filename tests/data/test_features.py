"""The feature store: what is written is read back, a killed extraction goes on, other origins are told apart."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from asgmcli.data.features import FeatureWriter, Origin, has_features, hash_file, open_features
from asgmcli.errors import DataError

ORIGIN = Origin("m" * 64, "w" * 64, {"hop": 1.0, "size": [2, 3]})
CLIPS = {"b": 2, "a": 2, "long": 5}


def rows(clip: str, count: int = 2) -> np.ndarray:
    return np.random.default_rng(len(clip) + ord(clip[0])).normal(size=(count, 3)).astype(np.float32)


def fill(folder: Path, clips: list[str], origin: Origin = ORIGIN) -> FeatureWriter:
    writer = FeatureWriter(folder, "ears", origin, CLIPS, (3,))
    writer.write((clip, rows(clip, CLIPS[clip])) for clip in clips)
    return writer


def test_what_is_written_in_any_order_is_read_back_in_the_manifests(tmp_path: Path) -> None:
    with fill(tmp_path, ["long", "a", "b"]):
        pass
    found = open_features(tmp_path, "ears", ORIGIN)
    assert found.shape == (3,)
    assert list(found.places) == ["b", "a", "long"]
    np.testing.assert_array_equal(found.of_clip("long"), rows("long", 5).astype(np.float16))
    np.testing.assert_array_equal(found.loaded().of_clip("a"), rows("a", 2).astype(np.float16))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ears.json", "ears.npy"]
    with pytest.raises(DataError, match="no features of clip 'nobody'"):
        found.of_clip("nobody")
    with pytest.raises(ValueError, match="read-only"):
        found.array[0] = 0


def test_a_killed_extraction_goes_on_and_leaves_no_half_store(tmp_path: Path) -> None:
    fill(tmp_path, ["a"])  # never closed: as if the process had been killed
    assert not has_features(tmp_path, "ears", ORIGIN)
    with (tmp_path / ".ears.part" / "done.txt").open("a") as journal:
        journal.write('"lo')  # the line that it was writing
    again = FeatureWriter(tmp_path, "ears", ORIGIN, CLIPS, (3,))
    assert again.missing == ["b", "long"]
    with again:
        again.write([("b", rows("b"))])
        again.write([("long", rows("long", 5))])
    np.testing.assert_array_equal(open_features(tmp_path, "ears", ORIGIN).of_clip("a"), rows("a").astype(np.float16))


def test_an_unfinished_store_of_another_origin_is_begun_anew(tmp_path: Path) -> None:
    fill(tmp_path, ["a"])
    other = FeatureWriter(tmp_path, "ears", Origin(ORIGIN.manifest, "x" * 64), CLIPS, (3,))
    assert other.missing == ["b", "a", "long"]


def test_a_store_is_finished_only_with_every_clip(tmp_path: Path) -> None:
    with fill(tmp_path, ["a", "b", "long"]):
        pass
    before = (tmp_path / "ears.npy").read_bytes()
    other = Origin("n" * 64, ORIGIN.weights, ORIGIN.settings)
    with pytest.raises(DataError, match="2 clips have no features, the first is b"), fill(tmp_path, ["a"], other):
        pass
    assert (tmp_path / "ears.npy").read_bytes() == before


def test_features_of_another_origin_are_refused_by_name(tmp_path: Path) -> None:
    with fill(tmp_path, list(CLIPS)):
        pass
    other = Origin("n" * 64, ORIGIN.weights, {"hop": 0.96, "size": [2, 3]})
    with pytest.raises(DataError, match=r"made from another manifest; hop 1.0, not 0.96. Make them again. Type: this"):
        open_features(tmp_path, "ears", other, "Type: this")
    assert not has_features(tmp_path, "ears", other)
    assert open_features(tmp_path, "ears").origin == ORIGIN


@pytest.mark.parametrize("damage", ["cut", "json", "index", "gone"])
def test_damaged_features_are_named(tmp_path: Path, damage: str) -> None:
    with fill(tmp_path, list(CLIPS)):
        pass
    if damage == "cut":
        os.truncate(tmp_path / "ears.npy", 140)
    elif damage == "json":
        (tmp_path / "ears.json").write_text("[]")
    elif damage == "index":
        content = json.loads((tmp_path / "ears.json").read_text())
        content["clips"].pop("a")
        (tmp_path / "ears.json").write_text(json.dumps(content))
    else:
        (tmp_path / "ears.npy").unlink()
    with pytest.raises(DataError, match=r"no such features|damaged features"):
        open_features(tmp_path, "ears")


@pytest.mark.parametrize(
    ("clip", "values", "said"),
    [
        ("a", np.full((2, 3), np.nan), "not finite or beyond 65504"),
        ("a", np.full((2, 3), 70000.0), "not finite or beyond 65504"),
        ("a", np.zeros((2, 4)), r"features \[2, 4\] instead of \[2, 3\]"),
        ("x", np.zeros((2, 3)), "no place for features of clip 'x'"),
    ],
)
def test_wrong_features_are_refused_with_their_clip(tmp_path: Path, clip: str, values: np.ndarray, said: str) -> None:
    writer = FeatureWriter(tmp_path, "ears", ORIGIN, CLIPS, (3,))
    with pytest.raises(DataError, match=said):
        writer.write([(clip, values)])
    assert writer.missing == list(CLIPS)


def test_a_full_disk_is_told_before_anything_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        FeatureWriter(tmp_path, "ears", ORIGIN, CLIPS, (3,))


def test_a_file_is_hashed_in_blocks(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"abc")
    assert hash_file(tmp_path / "weights") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(DataError, match="cannot be read"):
        hash_file(tmp_path / "none")
