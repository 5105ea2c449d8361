"""frames.csv, masks of every PNG mode, flow files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asgmcli.data.frames import FrameRow, frames_text, read_flow, read_frames, read_mask, read_picture
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError, MediaError
from tests.avs_golden import golden


def manifest(folder: Path) -> Manifest:
    rows = [ManifestRow(name, f"{name}.png", "", "train", 5, 1, 5, 8, 8, "", "") for name in ("a", "b")]
    return Manifest(folder, rows, [], folder / "manifest.csv", "")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    clips = {
        "b": [FrameRow(1, "b_1.png", "m.png", "flow/b.npy", 0), FrameRow(2, "b,2.png", "", "flow/b.npy", 1)],
        "a": [FrameRow(3, "a_3.png", "", "", 0)],
    }
    (tmp_path / "frames.csv").write_text(frames_text(clips, ["b", "a"]))
    assert read_frames(manifest(tmp_path)) == clips


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,frame,image,mask,flow\nc,1,x.png,,\n", r"frames.csv:2: .*c"),
        ("id,frame,image,mask,flow\na,one,x.png,,\n", r"frames.csv:2"),
        ("id,frame,image,mask,flow\na,1,,,\n", r"frames.csv:2"),
        ("id,frame,image\na,1,x.png\n", r"frames.csv:2"),
        ("id,frame,image,mask,flow\na,1,x.png,,\n", "clip 'b' has no frames"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "frames.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_frames(manifest(tmp_path))


def test_a_data_set_without_frames_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="asgm prepare avsbench_s4"):
        read_frames(manifest(tmp_path))


@pytest.mark.parametrize("kind", ["one", "grey", "rgb", "palette", "rgba"])
def test_masks_of_every_mode(tmp_path: Path, kind: str) -> None:
    files = golden("files")
    (tmp_path / "mask.png").write_bytes(files[f"png_{kind}"].tobytes())
    found = read_mask(tmp_path / "mask.png")
    assert found.shape == (40, 48)
    np.testing.assert_array_equal(found.numpy(), files[f"as1_{kind}"] > 0.5)


def test_a_grey_edge_is_cut_at_128(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(tmp_path / "soft.png")
    assert read_mask(tmp_path / "soft.png").tolist() == [[False, False, True, True]]


def test_broken_and_missing_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(golden("files")["png_rgb"].tobytes()[:60])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("broken.png", "text.png", "none.png"):
        with pytest.raises(MediaError, match=name):
            read_picture(tmp_path / name)


def test_flow_of_another_length_or_kind_is_told(tmp_path: Path) -> None:
    path = tmp_path / "flow.npy"
    np.save(path, np.zeros((5, 2, 8, 6), np.uint8))
    assert read_flow(path, 5, (8, 6)).shape == (5, 2, 8, 6)
    with pytest.raises(DataError, match=r"flow.npy: flow of uint8 \[5, 2, 8, 6\] instead of uint8 \[4, 2, 8, 6\]"):
        read_flow(path, 4, (8, 6))
    np.save(path, np.zeros((5, 2, 8, 6), np.float32))
    with pytest.raises(DataError, match="flow of float32"):
        read_flow(path, 5, (8, 6))
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a file of optical flow"):
        read_flow(path, 5, (8, 6))
    with pytest.raises(DataError, match="no such flow file"):
        read_flow(tmp_path / "none.npy", 5, (8, 6))
