"""Clips fitted to the network together: each is what an evaluation of it alone sees and hears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from asgmcli.data.manifest import read_manifest
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.data.reader import ClipReader
from asgmcli.errors import MediaError
from asgmcli.prepare.single import manifest_of
from asgmcli.tasks.recognition import clips as clips_module
from asgmcli.tasks.recognition.clips import fitted, read_clip_of
from asgmcli.tasks.recognition.load import TrainedRecognizer
from asgmcli.tasks.recognition.model import build_network
from asgmcli.tasks.recognition.views import evaluation_views
from tests.media import media_files as mf
from tests.tiny_training import tiny

CROPS = {"evaluate__crops": 3}
STATISTICS = LogMelStatistics(-5.0, 4.0)


@pytest.mark.parametrize(("modality", "most"), [("video", 1 << 26), ("audio", 1 << 26), ("both", 1 << 26), ("both", 0)])
def test_clips_read_together_are_those_of_an_evaluation(
    demo: Path, tmp_path: Path, modality: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips_module, "MOST_BYTES", most)
    changes: dict[str, Any] = {"evaluate__clips": 2} if modality == "audio" else {"evaluate__clips": 2, **CROPS}
    if modality != "both":
        changes |= {"model__modality": modality, "losses__contrastive__weight": 0.0}
    recipe = tiny(tmp_path, demo, **changes)
    manifest = read_manifest(demo)
    wide = mf.encode(tmp_path / "wide.mp4", mf.moving_frames(12, 48, 80), sound=mf.chirp(1.2))
    silent = mf.encode(tmp_path / "silent.mkv", mf.moving_frames(9, 48, 80))
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    paths = [manifest.resolve(row) for row in manifest.rows[:2]]
    paths = [paths[0], wide, tmp_path / "broken.mp4", silent, paths[1]]
    heard = STATISTICS if recipe.listens else None
    found = fitted(recipe, heard, [read_clip_of(recipe, path, None) for path in paths])
    broken = found.pop(2)
    assert isinstance(broken, MediaError)
    assert "broken.mp4: not a readable media file" in broken.message
    for path, one in zip([*paths[:2], *paths[3:]], found, strict=True):
        alone = manifest_of(path)
        reader = ClipReader(alone, recipe.clip, recipe.audio)
        expected = evaluation_views(recipe, reader, alone.rows, {alone.rows[0].id: -1}, heard)[0]
        assert not isinstance(one, MediaError)
        assert torch.equal(one.video, expected.video)
        assert (one.audio is None) == (expected.audio is None)
        if one.audio is not None and expected.audio is not None:
            torch.testing.assert_close(one.audio, expected.audio, atol=1e-5, rtol=1e-5)
        assert (one.ids, one.splits) == (expected.ids, expected.splits)
        assert int(one.label) == -1


def test_no_clip_is_none(demo: Path, tmp_path: Path) -> None:
    assert fitted(tiny(tmp_path, demo), STATISTICS, []) == []
    only = [MediaError("it is gone")]
    assert fitted(tiny(tmp_path, demo), STATISTICS, only) == only


def test_more_clips_are_asked_about_at_once_where_few_pixels_are_seen(demo: Path, tmp_path: Path) -> None:
    def together(**changes: Any) -> int:
        recipe = tiny(tmp_path, demo, **changes)
        network = build_network(recipe, 10, 64)
        return TrainedRecognizer(recipe, network, [], STATISTICS, torch.device("cpu")).together

    assert together() == 32  # 4 frames of 24 x 24 pixels: 6,912 bytes
    assert together(evaluate__clips=4) == 32
    assert together(evaluate__clips=5) == 8
    assert together(model__modality="audio", losses__contrastive__weight=0.0, evaluate__clips=9) == 32
