"""The cache: what is copied, how, and when again."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from asgmcli.data.manifest import ManifestRow
from asgmcli.errors import DataError
from asgmcli.media.audio import read_audio
from asgmcli.media.video import decode_video
from asgmcli.media.write import write_clip
from asgmcli.prepare.cache import cache_all, cache_task, estimate, see_room
from asgmcli.prepare.selection import Outcome
from asgmcli.prepare.verify import Facts, FileCheck, examine
from tests.prepare.prepare_files import TONE, clip_bytes, distinct, pictures, run, xvid


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clip_bytes(tmp_path_factory.mktemp("clip"))


def make_row(path: Path, **changes: object) -> ManifestRow:
    found = examine(FileCheck("x", str(path), "", False, True))
    assert isinstance(found, Facts)
    values = (path.name, str(path), "dog", "train", found.duration, found.fps, found.frames, found.width, found.height)
    return ManifestRow(*values, audio=str(path) if found.sound else "", note="")


def test_the_cache_holds_the_same_frames_and_sound_ready_to_read(tmp_path: Path) -> None:
    write_clip(tmp_path / "large.mp4", pictures(20, 1, 360, 480), 10.0, TONE)
    write_clip(tmp_path / "small.mp4", pictures(12, 2, 96, 128), 8.0)
    xvid(tmp_path / "old.avi")
    rows = [make_row(tmp_path / name) for name in ("large.mp4", "small.mp4", "old.avi")]
    folder, out = tmp_path / "cache", tmp_path
    todo, size = estimate(folder, Outcome(rows, [], 0, 3), out)
    assert todo == 3
    assert size > 0
    assert "3 clips to copy" in see_room(folder, todo, size)
    with pytest.raises(DataError, match="Make room"):
        see_room(folder, 3, 10**18)
    outcome = cache_all(folder, Outcome(rows, [], 0, 3), out, 1, 60.0)
    assert outcome.left_out == []
    large, small, old = outcome.rows
    # 480 x 256 / 360 is 341.3; h264 wants even sides.
    assert (large.width, large.height, large.frames, large.fps) == (342, 256, 20, 10.0)
    assert (small.width, small.height, small.audio) == (128, 96, "")
    assert old.frames == 40
    for row, source in zip(outcome.rows, rows, strict=True):
        copy, _ = decode_video(out / row.path)
        original, _ = decode_video(source.path, short_side=256)
        width = min(copy.shape[2], original.shape[2])
        copy, original = copy[:, :, :width].astype(int), original[:, :, :width].astype(int)
        error, shifted = np.abs(copy - original).mean(), np.abs(copy[1:] - original[:-1]).mean()
        assert error < min(6, 0.7 * shifted), (row.id, error, shifted)
        with av.open(str(out / row.path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
            assert max(np.diff([*keys, len(packets)])) <= 8
            assert not container.streams.video[0].codec_context.has_b_frames
    sound = np.load(out / large.audio)
    assert sound.dtype == np.int16
    assert np.abs(read_audio(out / large.audio) - read_audio(rows[0].path)).max() <= 0.5001 / 32768


def test_the_cache_is_written_once_and_again_for_a_changed_file(tmp_path: Path, clip: bytes) -> None:
    path, folder = tmp_path / "a.mp4", tmp_path / "cache"
    path.write_bytes(clip)
    row = make_row(path)
    first = cache_all(folder, Outcome([row], [], 0, 1), tmp_path, 1, 60.0).rows[0]
    stamp = (tmp_path / first.path).stat().st_mtime_ns
    assert estimate(folder, Outcome([row], [], 0, 1), tmp_path)[0] == 0
    again = cache_all(folder, Outcome([row], [], 0, 1), tmp_path, 1, 60.0).rows[0]
    assert again == first
    assert (tmp_path / first.path).stat().st_mtime_ns == stamp
    path.write_bytes(distinct(clip, 1))
    assert cache_all(folder, Outcome([row], [], 0, 1), tmp_path, 1, 60.0).rows[0].path != first.path


def test_ids_do_not_lead_out_of_the_cache(tmp_path: Path) -> None:
    row = ManifestRow("../../etc/passwd", "/x.mp4", "", "train", 1, 8, 8, 8, 8, "", "")
    task = cache_task(tmp_path / "cache", row, tmp_path)
    assert Path(task.video).parent.parent == tmp_path / "cache"


def test_a_clip_that_cannot_be_copied_is_left_out_and_leaves_nothing_behind(tmp_path: Path, clip: bytes) -> None:
    path, folder = tmp_path / "a.mp4", tmp_path / "cache"
    path.write_bytes(clip)
    row = make_row(path)
    path.write_bytes(clip[: int(len(clip) * 0.7)])
    outcome = cache_all(folder, Outcome([row], [], 0, 1), tmp_path, 1, 60.0)
    assert outcome.rows == []
    assert outcome.bad == 1
    assert [entry.reason for entry in outcome.left_out] == ["cache_failed"]
    assert not list(folder.rglob("*.mp4"))
    assert not list(folder.rglob("*.part"))


def test_the_command_writes_a_manifest_of_the_cache(tmp_path: Path, clip: bytes) -> None:
    root = tmp_path / "raw/dog"
    root.mkdir(parents=True)
    for number in range(3):
        (root / f"{number}.mp4").write_bytes(distinct(clip, number))
    (root / "cut.mp4").write_bytes(clip[: int(len(clip) * 0.7)])
    out = tmp_path / "out"
    text = run(
        "folder", "--root", tmp_path / "raw", "--out", out, "--workers", 1, "--cache", out / "cache", "--max-bad", 0.3
    )
    assert "3 clips to copy" in text
    lines = (out / "manifest.csv").read_text().splitlines()
    assert len(lines) == 4
    assert all(",cache/" in line and ".npy," in line for line in lines[1:])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["verify"]
    assert summary["left_out"] == {"truncated": 1}
