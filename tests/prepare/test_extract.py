"""Features of a network over a data set: the same bytes wherever the clips are worked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asgmcli.data.features import Features
from asgmcli.data.manifest import read_manifest
from asgmcli.data.segments import read_segments
from asgmcli.data.windows import WindowSet
from asgmcli.errors import MediaError
from asgmcli.prepare import extract
from asgmcli.prepare.extract import Extraction, FrameClips, ensure_features
from asgmcli.recipe.events import FrameInput
from asgmcli.workers import Failure, spread

SECONDS = 2


class Brightness(nn.Module):
    """Each frame's mean in three channels, [n, 3]."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames.float().mean(dim=(2, 3))


def features(folder: Path) -> Features:
    manifest = read_manifest(folder)
    windows = WindowSet(manifest, read_segments(manifest), SECONDS)
    frames = FrameClips(windows, FrameInput(size=16, resize_to=16))
    wanted = Extraction("bright", frames, Brightness, (SECONDS, 3), "none", {})
    return ensure_features(wanted, torch.device("cpu"), 0, None)


def in_turn(
    function: Callable[[Any], Any], tasks: Iterator[Any], limit_s: float, ahead: int | None, bad: int = -1
) -> Iterator[tuple[Any, Any]]:
    """Stand for other machines; input `bad` fails there."""
    assert limit_s > 0
    assert ahead
    for place, task in enumerate(tasks):
        yield task, Failure("crash", "the process reading it died") if place == bad else function(task)


def test_other_machines_make_the_same_bytes(own_events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_BUILT", {})
    (tmp_path / "there").mkdir()
    for path in own_events.iterdir():
        (tmp_path / "there" / path.name).symlink_to(path)
    here = features(own_events)
    with spread(in_turn):
        features(tmp_path / "there")
    row = read_manifest(own_events).rows[0]
    assert here.of_clip(row.id).max() > 0
    ours, theirs = (sorted((folder / "features").glob("*.npy")) for folder in (own_events, tmp_path / "there"))
    assert len(ours) == len(theirs) == 1
    assert ours[0].read_bytes() == theirs[0].read_bytes()


def test_a_clip_that_fails_there_is_named_and_the_others_are_kept(
    own_events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "_BUILT", {})
    monkeypatch.setattr(extract, "WRITTEN_AT_ONCE", 1)
    rows = read_manifest(own_events).rows
    with spread(partial(in_turn, bad=3)), pytest.raises(MediaError, match=rf"{rows[3].path}: the process reading it"):
        features(own_events)
    done = next((own_events / "features").glob(".*.part")) / "done.txt"
    assert len(done.read_text().splitlines()) == 3
