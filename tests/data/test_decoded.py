"""Decoded clips kept on disk: read as they were decoded, and made anew where they no longer hold."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.data.decoded import DECODED_FOLDER, DecodedClips, decoded_paths
from asgmcli.data.manifest import Manifest, read_manifest
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError, MediaError
from asgmcli.recipe.clips import Audio, Clip

CLIP = Clip(frames=4, stride=2, size=24, short_side=(24, 28))
AUDIO = Audio(seconds=0.64, mels=16)


@pytest.fixture
def manifest(own_demo: Path) -> Manifest:
    return read_manifest(own_demo / "manifest.csv")


@pytest.mark.parametrize("keep", [False, True])
def test_shared_clips_are_what_is_decoded_in_memory(manifest: Manifest, keep: bool) -> None:
    own = ClipReader(manifest, CLIP, AUDIO, keep=True)
    for _ in range(2):  # made, then read
        shared = ClipReader(manifest, CLIP, AUDIO, keep=keep, share=True)
        for row in manifest.rows[:3]:
            moment = own.moment(row, 5)
            assert torch.equal(shared.frames(moment), own.frames(moment))
            assert torch.allclose(shared.wave(moment, 0.5), own.wave(moment, 0.5), atol=1 / 32768)
            assert torch.equal(own.log_mel(moment), own.log_mel(moment))
            assert torch.allclose(shared.log_mel(moment), own.log_mel(moment), atol=0.05)
    assert len(list((manifest.folder / DECODED_FOLDER).rglob("*.npy"))) == 6


def test_a_shared_clip_is_decoded_once_and_again_when_its_file_has_changed(manifest: Manifest) -> None:
    clips, row, calls = DecodedClips(manifest), manifest.rows[0], []

    def decode() -> np.ndarray:
        calls.append(1)
        return np.full((2, 3, 4, 3), len(calls), np.uint8)

    assert clips.frames(row, 24, decode)[0, 0, 0, 0] == 1
    assert DecodedClips(manifest).frames(row, 24, decode)[0, 0, 0, 0] == 1
    kept = next((manifest.folder / DECODED_FOLDER).rglob("*.npy"))
    kept.write_bytes(kept.read_bytes()[:-5])  # cut off
    assert clips.frames(row, 24, decode)[0, 0, 0, 0] == 2
    clip = manifest.resolve(row)
    for count, seconds in enumerate((10, -10), start=3):  # an older file put in its place is another one too
        changed = kept.stat().st_mtime + seconds
        os.utime(clip, (changed, changed))
        assert clips.frames(row, 24, decode)[0, 0, 0, 0] == count
        assert clips.frames(row, 24, decode)[0, 0, 0, 0] == count
    clip.write_bytes(clip.read_bytes() + b"more")
    os.utime(clip, (changed, changed))  # of one date
    assert clips.frames(row, 24, decode)[0, 0, 0, 0] == 5
    assert len(calls) == 5


def test_a_shared_clip_kept_without_the_state_of_its_file_is_known_by_its_date(manifest: Manifest) -> None:
    clips, row = DecodedClips(manifest), manifest.rows[0]
    kept = decoded_paths(manifest, row, 24)[0]
    kept.parent.mkdir(parents=True)
    np.save(kept, np.full((2, 3, 4, 3), 7, np.uint8))
    assert clips.frames(row, 24, lambda: pytest.fail("decoded again"))[0, 0, 0, 0] == 7
    os.utime(kept, (0, 0))
    assert clips.frames(row, 24, lambda: np.zeros((2, 3, 4, 3), np.uint8)).sum() == 0
    assert np.load(kept).sum() == 0


@pytest.mark.parametrize("kept", [{"keep": True}, {"share": True}, {"keep": True, "share": True}])
def test_kept_clips_are_of_the_backend_that_the_recipe_names(manifest: Manifest, kept: dict[str, bool]) -> None:
    pytest.importorskip("decord")
    row, found = manifest.rows[0], {}
    for backend in ("pyav", "decord"):
        clip = CLIP.model_copy(update={"backend": backend})
        plain = ClipReader(manifest, clip, AUDIO)
        expected = plain.frames(plain.moment(row, 5))
        for _ in range(2):  # made, then read
            reader = ClipReader(manifest, clip, AUDIO, **kept)
            found[backend] = reader.frames(reader.moment(row, 5))
            assert torch.equal(found[backend], expected)
    # Resized by either they differ by rounding; were the first one's taken, they would not.
    assert not torch.equal(found["pyav"], found["decord"])
    files = {path.name for path in (manifest.folder / DECODED_FOLDER).rglob("*.npy")}
    assert len(files) == (2 if "share" in kept else 0)


def test_a_clip_too_large_to_keep_is_told_whatever_the_backend(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asgmcli.media.bounds.MAX_DECODED_BYTES", 1000)
    for backend in ("pyav", "decord"):
        reader = ClipReader(manifest, CLIP.model_copy(update={"backend": backend}), AUDIO, keep=True)
        with pytest.raises(MediaError, match=r"set data\.keep_decoded to false"):
            reader.frames(reader.moment(manifest.rows[0], 0))


def test_what_cannot_be_kept_is_told(manifest: Manifest) -> None:
    def broken() -> np.ndarray:
        raise MediaError("no frame in it")

    clips, row = DecodedClips(manifest), manifest.rows[0]
    with pytest.raises(MediaError, match="no frame"):
        clips.frames(row, 24, broken)
    with pytest.raises(DataError, match="would lead out"):
        clips.frames(replace(row, id="../../a"), 24, broken)
    assert not list(manifest.folder.rglob("*.npy"))
