from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asgmcli.data.manifest import ManifestRow, read_manifest
from asgmcli.data.mel_statistics import measure_log_mel
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError
from asgmcli.recipe.clips import Audio, Clip

CLIP = Clip(frames=4, stride=2, size=24, short_side=(24, 28))
AUDIO = Audio(seconds=0.64, mels=16)


def test_log_mel_statistics_are_those_of_the_clips_that_can_be_read(own_demo: Path) -> None:
    manifest = read_manifest(own_demo)
    for row in manifest.of_split("train")[-2:]:
        manifest.resolve(row).write_bytes(manifest.resolve(row).read_bytes()[:100])
    reader = ClipReader(manifest, CLIP, AUDIO)
    rows = manifest.of_split("train")
    found = measure_log_mel(reader, list(reversed(rows)), clips=4)
    sounds = torch.cat([reader.log_mel(reader.moment(row, 0)).flatten() for row in reversed(rows[-6:-2])])
    assert found.mean == pytest.approx(float(sounds.mean()), rel=1e-5)
    assert found.std == pytest.approx(float(sounds.std()), rel=1e-5)
    normal = found.normalise(sounds)
    assert float(normal.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normal.std()) == pytest.approx(0.5, abs=1e-5)


def silent_rows(rows: list[ManifestRow]) -> Iterator[ManifestRow]:
    return (replace(row, audio="") for row in rows)


def test_data_without_sound_is_told(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(demo)
    reader = ClipReader(manifest, CLIP, AUDIO)
    rows = manifest.of_split("train")[:2]
    with pytest.raises(DataError, match=r"No training clip has sound\. Set model\.modality"):
        measure_log_mel(reader, list(silent_rows(rows)))
    monkeypatch.setattr(ClipReader, "wave", lambda *_, **__: torch.zeros(10240))
    with pytest.raises(DataError, match="silence"):
        measure_log_mel(reader, rows)
