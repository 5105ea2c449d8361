"""What is heard: windows by frame, the ear, VGGish's weights found or asked for."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.data.frames import FrameRow
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError
from asgmcli.media.vggish_mel import vggish_patches
from asgmcli.recipe.segmentation import SegmentationAudio
from asgmcli.tasks.segmentation.sounds import clip_patches, ear, vggish_file
from tests.avs_golden import golden


def clip(folder: Path, audio: str) -> tuple[Manifest, ManifestRow]:
    row = ManifestRow("a", "a.png", "", "train", 5, 1, 5, 8, 8, audio, "")
    return Manifest(folder, [row], [], folder / "manifest.csv", ""), row


def frames(*numbers: int) -> list[FrameRow]:
    return [FrameRow(number, "x.png", "", "", place) for place, number in enumerate(numbers)]


def test_frame_k_hears_window_k_and_the_last_window_stands_for_those_behind(tmp_path: Path) -> None:
    sound = (8000 * np.sin(np.arange(40_000) ** 1.3 / 50)).astype("<i2")  # 2.5 s: two windows
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    patches = clip_patches(*clip(tmp_path, "a.wav"), frames(1, 2, 5))
    wanted = vggish_patches(sound.astype(np.float32) / 32768)
    assert len(wanted) == 2
    torch.testing.assert_close(patches, wanted[[0, 1, 1]], rtol=1e-3, atol=1e-3)


def test_released_log_mels_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(golden("files")["pickle"].tobytes())
    patches = clip_patches(*clip(tmp_path, "a.pkl"), frames(5, 1))
    np.testing.assert_array_equal(patches.numpy(), golden("files")["pickle_values"][[4, 0]])


def test_a_clip_without_sound_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clip 'a' has no sound"):
        clip_patches(*clip(tmp_path, ""), frames(1))


def test_the_ear_hears_colour_and_change_not_loudness() -> None:
    patches = torch.randn(2, 96, 64, generator=torch.Generator().manual_seed(0))
    found = ear(patches)
    assert found.shape == (2, 192)
    torch.testing.assert_close(ear(patches + 3.0), found, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, 64:128], patches.std(dim=1))
    assert not torch.allclose(ear(patches.flip(2))[:, :64], found[:, :64])


def test_vggishs_weights_are_asked_for_with_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"weights/vggish-10086976.pth"):
        vggish_file(SegmentationAudio())
    with pytest.raises(DataError, match=r"own.pth: no such weight file \(audio.init\)"):
        vggish_file(SegmentationAudio.model_validate({"init": {"file": "own.pth"}}))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vggish.pth").write_bytes(b"")
    assert vggish_file(SegmentationAudio()) == Path("weights/vggish.pth")
