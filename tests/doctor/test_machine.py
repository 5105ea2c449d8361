"""A clip is written and read back; folders are written to and measured, and nothing is left in them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asgmcli.doctor import machine
from asgmcli.doctor.machine import GIB, look_at_folders, look_at_media
from asgmcli.media import audio, video, write


def test_a_clip_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    frames, sound = look_at_media()
    assert not frames.mend + sound.mend
    assert frames.found.startswith("8 frames of h264")
    assert sound.found == "a second of aac, its tone read back at 440 Hz"
    assert not list(tmp_path.iterdir())


def test_wrong_pictures_and_sounds_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "read_clip", lambda path, indices: np.zeros((8, 64, 64, 3), np.uint8))
    monkeypatch.setattr(audio, "read_audio", lambda *args: np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000))
    frames, sound = look_at_media()
    assert frames.found == "read back 125 of 255 shades off what was written"  # the mean of 30 to 220
    assert sound.found == "a tone of 440 Hz came back as 220 Hz"
    assert frames.mend == sound.mend == "pip install --force-reinstall av"


def test_a_codec_that_fails_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no libx264")

    monkeypatch.setattr(video, "read_clip", refuse)
    assert [bool(item.mend) for item in look_at_media()] == [True, False]
    monkeypatch.setattr(write, "write_clip", refuse)
    (fault,) = look_at_media()
    assert "OSError: no libx264" in fault.found
    assert fault.mend


def test_folders_that_are_there_or_will_be(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data, runs = look_at_folders([tmp_path / "data", tmp_path / "deep" / "runs"])
    assert not data.mend + runs.mend
    assert "GiB free" in data.found
    assert f"(is made in {tmp_path})" in runs.found
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data"]


def test_folders_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (fault,) = look_at_folders([tmp_path / "file" / "runs"])
    assert f"{tmp_path / 'file'} is a file" in fault.found
    assert fault.mend

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=GIB // 2))
    (fault,) = look_at_folders([tmp_path])
    assert fault.found == "can be written, 0.5 GiB free"
    assert fault.mend.startswith("free some")

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    (fault,) = look_at_folders([tmp_path])
    assert fault.found == "cannot be written: Permission denied"
    assert f"chmod u+w {tmp_path}" in fault.mend
