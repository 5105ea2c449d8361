from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asgmcli.data import windows
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import Span
from asgmcli.data.windows import (
    Window,
    centre,
    count_segments,
    labels_of,
    read_draws,
    read_frames,
    read_patches,
    resized,
    windows_of,
)
from asgmcli.errors import MediaError
from asgmcli.media.video import read_clip
from asgmcli.media.write import write_clip

CLASSES = ["bell", "background"]


def row_of(path: str, duration: float, fps: float = 8.0, sound: bool = True) -> ManifestRow:
    frames = round(duration * fps)
    return ManifestRow("clip", path, "", "test", duration, fps, frames, 32, 24, path if sound else "", "")


@pytest.mark.parametrize(
    ("duration", "segments", "windows"),
    [
        (10.0, 10, [10]),
        (10.02, 10, [10]),
        (9.6, 10, [10]),
        (9.4, 9, [9]),
        (10.6, 11, [10, 1]),
        (0.2, 1, [1]),
        (25, 25, [10, 10, 5]),
    ],
)
def test_windows_of_any_length(duration: float, segments: int, windows: list[int]) -> None:
    row = row_of("x.mp4", duration)
    assert count_segments(row) == segments
    found = windows_of(row, 10)
    assert [window.real for window in found] == windows
    assert [window.start for window in found] == [10 * place for place in range(len(windows))]


def test_segments_reach_to_the_last_event() -> None:
    """AVE annotates videos that end a little early to their tenth second."""
    assert count_segments(row_of("x.mp4", 8.2), [Span(0, 10, "bell")]) == 10


def test_the_windows_of_a_data_set_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anew for each of AVE's clips they took a minute."""
    rows = [ManifestRow(str(n), "x.mp4", "", "train", 5.0 + 10 * n, 4.0, 20, 8, 8, "", "") for n in range(3)]
    counted = []
    plain = windows.count_windows
    monkeypatch.setattr(windows, "count_windows", lambda *given: counted.append(given) or plain(*given))
    found = windows.WindowSet(Manifest(Path(), rows, [], Path("manifest.csv"), ""), {}, 10)
    assert [found.clips[row.id] for row in rows for _ in range(4)] == [1] * 4 + [2] * 4 + [3] * 4
    assert len(counted) == 3


def test_labels_of_windows_and_what_lies_beyond_the_clip() -> None:
    windows = windows_of(row_of("x.mp4", 6.0), 4)
    labels = labels_of(windows, [Span(1, 5, "bell")], CLASSES)
    assert labels.tolist() == [[1, 0, 0, 0], [0, 1, -1, -1]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds at 8 frames a second, each frame as bright as its number, its sound louder every second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    frames = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None, None, None] * 10, (24, 24, 32, 3)).copy()
    seconds = np.arange(48000) / 16000
    sound = (0.1 + np.floor(seconds)) * 0.2 * np.sin(2 * np.pi * 500 * seconds)
    write_clip(path, frames, 8.0, sound.astype(np.float32))
    return path


def test_frames_nearest_to_the_drawn_times(clip: Path) -> None:
    manifest = Manifest(clip.parent, [], [], clip, "")
    window = Window(row_of(clip.name, 3.0), 0, 4, 3)
    read = read_frames(manifest, window, [0, 8, 15, 8], 24)
    assert read.shape == (4, 24, 32, 3)
    # t + n/16 at 8 frames a second: frames 0, 12, 23.5 -> the last; beyond the end the last repeats.
    assert (read.float().mean((1, 2, 3)) / 10).round().tolist() == [0, 12, 23, 23]
    with pytest.raises(MediaError, match="no frame rate"):
        read_frames(manifest, Window(row_of(clip.name, 3.0, fps=0.0), 0, 1, 1), [0], 24)


def test_several_frames_a_second_are_those_read_one_by_one(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is opened once for all of them."""
    manifest = Manifest(clip.parent, [], [], clip, "")
    window, draws = Window(row_of(clip.name, 3.0), 0, 4, 3), [2, 8, 13]
    apart = torch.stack([read_frames(manifest, window, [draw] * 4, 24) for draw in draws])
    opened: list[int] = []

    def counted(*given: Any, **named: Any) -> NDArray[np.uint8]:
        opened.append(1)
        return read_clip(*given, **named)

    monkeypatch.setattr(windows, "read_clip", counted)
    together = read_draws(manifest, window, draws, 24)
    assert torch.equal(together, apart)
    assert together.shape == (3, 4, 24, 32, 3)
    assert len(opened) == 1


def test_patches_of_a_windows_seconds(clip: Path) -> None:
    manifest = Manifest(clip.parent, [], [], clip, "")
    patches = read_patches(manifest, Window(row_of(clip.name, 3.0), 0, 4, 3), 1.0)
    assert patches.shape == (4, 96, 64)
    loudest = patches.amax((1, 2))
    assert loudest[:3].tolist() == sorted(loudest[:3].tolist())
    assert float(patches[3].max()) < float(loudest[0]) - 2  # silence beyond the end
    assert read_patches(manifest, Window(row_of(clip.name, 3.0), 0, 3, 3), 0.96).shape == (3, 96, 64)
    with pytest.raises(MediaError, match="no sound"):
        read_patches(manifest, Window(row_of(clip.name, 3.0, sound=False), 0, 1, 1), 1.0)


def test_resizing_and_cutting() -> None:
    frames = torch.zeros(2, 20, 40, 3, dtype=torch.uint8)
    frames[:, :, 20:] = 200
    assert resized(frames, 10, "squash").shape == (2, 3, 10, 10)
    short = resized(frames, 10, "short")
    assert short.shape == (2, 3, 10, 20)
    cut = centre(short, 10)
    assert cut.shape == (2, 3, 10, 10)
    assert (cut[..., :3].eq(0).all(), cut[..., -3:].eq(200).all()) == (True, True)
    assert torch.equal(resized(frames, 20, "short"), frames.permute(0, 3, 1, 2))
