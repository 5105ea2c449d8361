from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.data.boxes import has_boxes, read_boxes
from asgmcli.data.manifest import Manifest, ManifestRow, read_manifest, write_manifest
from asgmcli.errors import DataError

HEADER = "id,frame,x1,y1,x2,y2\n"


def manifest(folder: Path, width: int = 100) -> Manifest:
    row = ManifestRow("a", "a.mp4", "dog", "train", 1.0, 8.0, 8, width, 50, "a.mp4", "")
    return write_manifest(folder, [row], ["dog"])


def test_boxes_are_fractions_by_clip_and_frame(tmp_path: Path) -> None:
    data = manifest(tmp_path)
    assert not has_boxes(data)
    (tmp_path / "boxes.csv").write_text(HEADER + "a,3,10,5,30,50\na,3,0,0,100,25\na,0,1.5,1,2,2\n")
    assert has_boxes(data)
    boxes = read_boxes(data)
    assert list(boxes["a"]) == [3, 0]
    np.testing.assert_allclose(boxes["a"][3].corners, [[0.1, 0.1, 0.3, 1.0], [0, 0, 1, 0.5]])
    np.testing.assert_allclose(boxes["a"][0].corners, [[0.015, 0.02, 0.02, 0.04]])
    assert boxes["a"][3].annotators == (0, 0)
    assert (len(boxes["a"][3]), len(boxes["a"][0])) == (2, 1)


def test_who_drew_a_box(tmp_path: Path) -> None:
    lines = ("a,3,10,5,30,50,2", "a,3,0,0,100,25,1", "a,0,0,0,9,9,", "a,1,0,0,9,9,0")
    (tmp_path / "boxes.csv").write_text(HEADER.strip() + ",annotator\n" + "\n".join(lines) + "\n")
    boxes = read_boxes(manifest(tmp_path))
    assert {frame: found.annotators for frame, found in boxes["a"].items()} == {3: (2, 1), 0: (0,), 1: (0,)}
    for wrong in ("a,0,0,0,9,9,x", "a,0,0,0,9,9,-1"):
        (tmp_path / "boxes.csv").write_text(HEADER.strip() + ",annotator\n" + wrong + "\n")
        with pytest.raises(DataError, match=r"boxes\.csv:2: not a box"):
            read_boxes(manifest(tmp_path))


def test_the_demo_has_a_box_in_every_frame(demo: Path) -> None:
    data = read_manifest(demo)
    boxes = read_boxes(data)
    assert boxes.keys() == {row.id for row in data.rows}
    for row in data.rows:
        assert sorted(boxes[row.id]) == list(range(row.frames))
        corners = np.concatenate([found.corners for found in boxes[row.id].values()])
        assert (corners[:, :2] < corners[:, 2:]).all()
        assert corners.min() >= 0
        assert corners.max() <= 1


@pytest.mark.parametrize(
    "line",
    [
        "b,0,1,1,2,2",
        "a,x,1,1,2,2",
        "a,0,1,1,2",
        "a,0,1,1,,2",
        "a,0,nan,1,2,2",
        "a,0,5,1,2,2",
        "a,-1,1,1,2,2",
        "a,0,1,1,inf,2",
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "boxes.csv").write_text(HEADER + "a,0,1,1,2,2\n" + line + "\n")
    with pytest.raises(DataError, match=r"boxes\.csv:3: not a box"):
        read_boxes(manifest(tmp_path))


def test_files_that_are_no_boxes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no boxes here"):
        read_boxes(manifest(tmp_path))
    (tmp_path / "boxes.csv").write_bytes(b"id,frame,x1\n\xff\xfe\n")
    with pytest.raises(DataError, match="not a CSV file"):
        read_boxes(manifest(tmp_path))
    (tmp_path / "boxes.csv").write_text(HEADER + "a,0,1,1,2,2\n")
    with pytest.raises(DataError, match="not a box"):
        read_boxes(manifest(tmp_path, width=0))
