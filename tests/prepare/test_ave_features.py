"""Features made from videos: killed on the way, finished, trained on, and asked about a clip."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.data.features import open_features
from asgmcli.data.manifest import read_manifest
from asgmcli.data.windows import windows_of
from asgmcli.media.write import write_clip
from asgmcli.nn.vggish import VGGish
from asgmcli.prepare.released import ReleasedNetworks
from tests.prepare.prepare_files import TONE, pictures
from tests.prepare.test_released import made_up

CLIPS = 12  # so many that a kill comes before the last on a busy machine too
RECIPE = """
name: own
task: event_localization
title: Own
default_row: only
rows: {only: {title: only}}
data: {dataset: own, manifest: data/manifest.csv}
clip: {seconds: 1}
features: {maps: released}
model: {kind: avel}
train: {epochs: 1, batch: 1, optimizer: {kind: adam, lr: 1e-3, schedule: constant}}
"""


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[list[str]]:
    """Return the options that name both networks' files, of random numbers at their full size."""
    files = {"vggish": tmp_path / "vggish.pth", "vgg19": tmp_path / "vgg19.pth"}
    torch.manual_seed(0)
    torch.save(VGGish().state_dict(), files["vggish"])
    torch.save({name: value for name, value in made_up().items() if name.startswith("features.")}, files["vgg19"])
    yield [part for name, file in files.items() for part in ("--weights", f"{name}={file}")]
    for file in files.values():
        file.unlink()  # 370 MB


def asgm(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "asgmcli", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def finished(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    return text


@pytest.mark.long
def test_a_killed_extraction_goes_on_and_its_features_are_used(tmp_path: Path, weights: list[str]) -> None:
    lines = ["path,label,start,end,split"]
    (tmp_path / "raw").mkdir()
    for number in range(CLIPS):
        split = ("train", "val", "test")[number % 3]
        frames = np.roll(pictures(8), 9 * number, axis=2)
        write_clip(tmp_path / "raw" / f"{number}.mp4", frames, 8.0, np.roll(TONE[:16000], 999 * number))
        lines.append(f"{number}.mp4,bell,0,1,{split}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    prepare = ["prepare", "events", "--root", "raw", "--list", "list.csv", "--out", "data", "--seconds", "1"]
    command = [*prepare, "--workers", "1", "--extract", *weights]
    store = tmp_path / "data" / "features"
    journal = store / ".visual_vgg19.part" / "done.txt"

    process = asgm(tmp_path, *command)
    until = time.monotonic() + 300
    while not (journal.exists() and journal.read_text().count("\n")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = journal.read_text().count("\n")
    assert process.returncode == -signal.SIGKILL
    assert 0 < done < CLIPS
    assert not list(store.glob("visual_vgg19.*"))  # no half file
    assert (store / "audio_vggish.npy").exists()

    text = " ".join(finished(asgm(tmp_path, *command)).split())
    assert f"features of {CLIPS} clips, {done} are there (once)" in text
    assert "audio_vggish.npy: features" not in text
    assert not list(store.glob(".*.part"))
    assert json.loads((tmp_path / "data" / "summary.json").read_text())["features"]["kind"] == "extracted"
    manifest = read_manifest(tmp_path / "data")
    networks = ReleasedNetworks(tmp_path / "vggish.pth", tmp_path / "vgg19.pth", torch.device("cpu"))
    row = manifest.rows[-1]
    heard, seen = networks.features(manifest, windows_of(row, 1))
    for name, values in (("audio_vggish", heard), ("visual_vgg19", seen)):
        found = open_features(store, name).of_clip(row.id)
        assert float(np.abs(found).max()) > 0
        np.testing.assert_allclose(found, values.numpy(), rtol=2e-3, atol=2e-3 * float(values.abs().max()))

    (tmp_path / "own.yaml").write_text(RECIPE)
    finished(asgm(tmp_path, "train", "own.yaml"))
    answer = finished(asgm(tmp_path, "predict", "runs/own/only/seed0", "raw/2.mp4", "--json", *weights))
    assert "trained on released features; those made here have other numbers" in answer
