"""A run of the demo answers for files of every kind: the networks that made its features go with it."""

from __future__ import annotations

import csv
import functools
import io
import json
import wave
from pathlib import Path

import numpy as np
import pytest

import asgmcli
from asgmcli.media.write import write_clip
from asgmcli.synthetic import demo_features
from tests.calling import asgm

RATE = 16_000
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `parsing_demo` on a small demo, whose CNN has hardly learnt."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        quick = functools.partial(demo_features.learn_network, stills=50, epochs=1)
        patch.setattr(demo_features, "learn_network", quick)
        asgm("prepare", "demo_parsing", "--train", 24, "--val", 4, "--test", 4, "--workers", 1)
        recipe = ROOT / "recipes/parsing_demo.yaml"
        asgm("train", recipe, "--set", "train.epochs=2", "--set", "train.batch=8", "--device", "cpu")
    return folder / "runs/parsing_demo/adv_skip_gcaa/seed0"


def noise(seconds: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE))).astype(np.float32)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (count, 64, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((32_767 * noise(12.5)).astype("<i2").tobytes())
    write_clip(folder / "silent.mp4", pictures(32), 4.0, None)
    write_clip(folder / "long.mp4", pictures(92), 4.0, noise(23))
    write_clip(folder / "short.mp4", pictures(2), 4.0, noise(0.5))
    return folder


SECONDS = {"sound.wav": 13, "silent.mp4": 8, "long.mp4": 23, "short.mp4": 1}


@pytest.mark.long
@pytest.mark.pictures
@pytest.mark.parametrize("name", SECONDS)
def test_a_file_of_any_kind_is_parsed(run: Path, files: Path, tmp_path: Path, name: str) -> None:
    arguments = ("predict", run, files / name, "--device", "cpu", "--set", "evaluate.threshold=0.05")
    (clip,) = json.loads(asgm(*arguments, "--json", "--files", tmp_path).stdout)["clips"]
    modalities = {event["modality"] for event in clip["events"]}
    assert modalities == {"sound.wav": {"audio"}, "silent.mp4": {"visual"}}.get(name, {"audio", "visual"})
    for event in clip["events"]:
        assert 0 <= event["start"] < event["end"] <= SECONDS[name]
        assert event["probability"] >= 0.05
    said = " ".join(clip["notes"])
    assert ("no picture: nothing is seen" in said) == (name == "sound.wav")
    assert ("no sound: nothing is heard" in said) == (name == "silent.mp4")
    windows = -(-SECONDS[name] // 10)
    assert f"the last of its {windows} windows is filled up from {SECONDS[name]} s" in said
    stem = name.rpartition(".")[0]
    written = list(csv.DictReader(io.StringIO((tmp_path / f"{stem}_segments.csv").read_text())))
    assert [(float(row["start"]), float(row["end"]), row["label"], row["modality"]) for row in written] == [
        (event["start"], event["end"], event["label"], event["modality"]) for event in clip["events"]
    ]
    assert (tmp_path / f"{stem}_timeline.png").stat().st_size > 5_000
    spans = asgmcli.load(run, device="cpu").predict(files / name)
    assert all(span.probability >= 0.5 for span in spans)


@pytest.mark.long
def test_what_cannot_be_parsed_is_said(run: Path, files: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    told = asgm("predict", run, tmp_path / "notes.mp4", "--device", "cpu", code=3).stderr
    assert "notes.mp4: not a readable media file" in told
    weights = ("--weights", "resnet152=none.pth")
    told = asgm("predict", run, files / "short.mp4", *weights, "--device", "cpu", code=2).stderr
    assert "its own networks" in told
