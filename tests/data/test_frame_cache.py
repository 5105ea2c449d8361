from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.data.frame_cache import cache_frames, read_jpegs
from asgmcli.data.manifest import ManifestRow
from asgmcli.errors import MediaError
from asgmcli.media.write import write_clip
from asgmcli.recipe.events import FrameInput
from tests.prepare.prepare_files import pictures

SMALL = FrameInput(size=32, resize_to=32)


@pytest.fixture
def cached(tmp_path: Path) -> tuple[Path, Path]:
    clip, target = tmp_path / "clip.mp4", tmp_path / "clip.jpegs"
    write_clip(clip, pictures(16), 8.0, None)
    row = ManifestRow("x", "clip.mp4", "", "train", 2.0, 8.0, 16, 64, 48, "", "")
    size = cache_frames(clip, row, target, SMALL)
    assert target.stat().st_size == size
    return clip, target


def test_frames_come_back_as_they_were_resized(cached: tuple[Path, Path]) -> None:
    from asgmcli.data.windows import resized
    from asgmcli.media.video import read_clip

    clip, target = cached
    # 16 candidate times a second at 8 frames a second: place p shows frame p / 2, halves up.
    found = read_jpegs(target, [0, 7, 31, 99])
    plain = resized(torch.from_numpy(read_clip(clip, [0, 4, 15, 15], short_side=32)), 32, "squash")
    assert found.shape == plain.shape == (4, 3, 32, 32)
    assert float((found.float() - plain.float()).abs().mean()) < 3


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_a_damaged_file_is_told(cached: tuple[Path, Path], damage: str) -> None:
    target = cached[1]
    content = target.read_bytes()
    if damage == "cut":
        target.write_bytes(content[: len(content) // 2])
    elif damage == "other":
        target.write_bytes(b"something else" + content[14:])
    else:
        target.unlink()
    with pytest.raises(MediaError, match="damaged frames"):
        read_jpegs(target, [31])


def test_equal_neighbours_are_stored_once(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_clip(clip, np.repeat(pictures(4), 2, axis=0), 4.0, None)
    row = ManifestRow("x", "clip.mp4", "", "train", 2.0, 4.0, 8, 64, 48, "", "")
    cache_frames(clip, row, tmp_path / "c.jpegs", SMALL)
    frames = read_jpegs(tmp_path / "c.jpegs", range(32))
    assert len(frames) == 32
    assert len({frame.numpy().tobytes() for frame in frames}) <= 8
