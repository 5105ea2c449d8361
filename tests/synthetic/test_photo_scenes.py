"""Photographs and recordings: divided among splits without a file in two, broken ones told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asgmcli.errors import DataError, UsageError
from asgmcli.synthetic.photo_scenes import check_photos, find_photos


def folders(root: Path, classes: dict[str, tuple[int, list[str]]]) -> tuple[Path, Path]:
    for name, (pictures, sounds) in classes.items():
        (root / "things" / name).mkdir(parents=True)
        (root / "sounds" / name).mkdir(parents=True)
        for number in range(pictures):
            Image.fromarray(np.full((4, 4, 4), 255, np.uint8)).save(root / "things" / name / f"{number}.png")
        for sound in sounds:
            (root / "sounds" / name / f"{sound}.wav").write_bytes(b"not sound")
    return root / "things", root / "sounds"


def test_no_file_and_no_source_is_in_two_splits(tmp_path: Path) -> None:
    sounds = [f"1-{number}-{part}" for number in range(6) for part in "AB"]
    things, recordings = folders(tmp_path, {"a": (8, sounds), "b": (3, ["x", "y", "z"]), "c": (2, sounds)})
    photos = find_photos(things, recordings, None, seed=0)
    assert photos.classes == ["a", "b"]
    for table in (photos.things, photos.sounds):
        for by_split in table.values():
            parts = [set(by_split[split]) for split in ("train", "val", "test")]
            assert all(parts)
            assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])
    sources = [{path.stem[:-2] for path in paths} for paths in photos.sounds["a"].values()]
    assert sum(len(part) for part in sources) == 6
    assert sum(len(paths) for paths in photos.sounds["a"].values()) == 12


def test_what_is_missing_or_broken_is_told(tmp_path: Path) -> None:
    things, recordings = folders(tmp_path, {"a": (3, ["x", "y", "z"]), "b": (3, ["x", "y", "z"])})
    photos = find_photos(things, recordings, None, seed=0)
    with pytest.raises(DataError, match="6 files cannot be used"):
        check_photos(photos)
    with pytest.raises(UsageError, match="no such folder"):
        find_photos(tmp_path / "none", recordings, None, seed=0)
    (tmp_path / "grounds").mkdir()
    with pytest.raises(UsageError, match="0 pictures, 3 are needed"):
        find_photos(things, recordings, tmp_path / "grounds", seed=0)
