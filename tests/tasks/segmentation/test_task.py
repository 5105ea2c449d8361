"""The segmentation task by its commands: trained, resumed to the same weights, judged, asked, exported."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asgmcli.media.probe import probe
from asgmcli.tasks import segmentation
from tests.calling import asgm, stop_at
from tests.tasks.segmentation.conftest import TEXT

CLIP = "data/demo_segmentation/clips/test_00000.mp4"


@pytest.fixture
def place(pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of the data set and a recipe."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pixels, tmp_path / "data" / "demo_segmentation")
    (tmp_path / "pixels.yaml").write_text(TEXT.format(manifest="data/demo_segmentation/manifest.csv"))
    return tmp_path


def test_it_is_trained_judged_and_asked(place: Path) -> None:
    whole = json.loads(asgm("train", "pixels.yaml", "--json").stdout)
    assert whole["steps"] == 4
    assert set(whole["metrics"]) == {
        "miou", "f_score", "miou_1", "f_score_1", "miou_exchanged", "f_score_exchanged",
    }  # fmt: skip
    run = Path("runs/pixels/ufe/seed0")
    assert whole["kept"]["epoch"] in (0, 1)
    assert (run / "segmentation.png").exists()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("pseudo_iou" in line for line in lines)
    judged = json.loads(asgm("eval", run, "--json").stdout)
    assert judged["metrics"] == pytest.approx(whole["metrics"])

    answer = asgm("predict", run, CLIP, "--files", "out", "--fps", 2, "--json")
    (told,) = json.loads(answer.stdout)["clips"]
    count = len(told["times"])
    assert told["times"] == pytest.approx([0.48 * n for n in range(count)], abs=1e-3)  # every 12th frame of 25 a second
    assert count == len(told["shares"]) == 11
    arrays = np.load("out/test_00000_masks.npz")
    assert arrays["masks"].shape == (count, 32, 32)
    assert arrays["masks"].dtype == bool
    assert "probabilities" not in arrays
    overlay = probe("out/test_00000_overlay.mp4")
    assert overlay.audio_rate > 0
    assert overlay.duration == pytest.approx(5.0, abs=0.1)
    assert len(list(Path("out/test_00000_masks").glob("*.png"))) == count
    mask = np.asarray(Image.open("out/test_00000_masks/0003.png"))
    np.testing.assert_array_equal(mask > 0, arrays["masks"][3])
    assert (Path("out") / "test_00000_strip.png").exists()
    assert "is there already" in asgm("predict", run, CLIP, "--files", "out", code=2).stderr
    assert "takes no such weights" in asgm("predict", run, CLIP, "--weights", "vggish=x.pth", code=2).stderr


def short_flow(data: Path) -> None:
    np.save(data / "flow" / "train_00001.npy", np.zeros((4, 2, 32, 32), np.uint8))


def no_sound(data: Path) -> None:
    lines = (data / "manifest.csv").read_text().splitlines()
    (data / "manifest.csv").write_text("\n".join([lines[0], lines[1].replace("sound/train_00000.wav", ""), *lines[2:]]))
    shutil.rmtree(data / "features", ignore_errors=True)


def no_mask(data: Path) -> None:
    (data / "masks" / "test_00000_1.png").unlink()


def odd_mask(data: Path) -> None:
    Image.new("L", (16, 16)).save(data / "masks" / "test_00000_1.png")


def other_weights(data: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, data.parents[1] / "other.pth")


@pytest.mark.parametrize(
    ("spoil", "settings", "said"),
    [
        (short_flow, (), r"train_00001\.npy: flow of uint8 \[4, 2, 32, 32\] instead of uint8 \[5, 2, 32, 32\]"),
        (no_sound, (), r"clip 'train_00000' has no sound\. Take it out, or set audio\.kind=none"),
        (no_mask, ("train.max_steps=1",), r"test_00000_1\.png: cannot be read as a picture"),
        (odd_mask, ("train.max_steps=1",), r"test_00000_1\.png: 16x16 pixels where input\.size is 32"),
        (None, ("input.size=64",), r"frames of 32x32 pixels \(train_00000\) where input\.size is 64"),
        (other_weights, ("model.init={file: other.pth}",), r"other\.pth does not hold this network: .* are missing"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_left(
    place: Path, spoil: Callable[[Path], None] | None, settings: tuple[str, ...], said: str
) -> None:
    if spoil is not None:
        spoil(place / "data" / "demo_segmentation")
    sets = [word for one in settings for word in ("--set", one)]
    (line,) = [line for line in asgm("train", "pixels.yaml", *sets, code=3).stderr.splitlines() if "Error:" in line]
    assert re.search(said, line)
    assert not list(Path("runs").rglob("result.json"))


def test_another_networks_weights_are_refused(place: Path) -> None:
    other_weights(place / "data" / "demo_segmentation")
    assert "other.pth: no network that asgm knows" in asgm("predict", "other.pth", CLIP, code=3).stderr


@pytest.mark.long
@pytest.mark.pictures
def test_its_cost_is_told_and_other_ways_to_judge_and_ask(place: Path) -> None:
    (dry,) = json.loads(asgm("train", "pixels.yaml", "--dry-run", "--json").stdout)["runs"]
    assert dry["clips"] == {"labeled": 4, "unlabeled": 16, "evaluated": 3}
    assert dry["steps"] == 4
    whole = json.loads(asgm("train", "pixels.yaml", "--json").stdout)
    run = Path("runs/pixels/ufe/seed0")
    other = json.loads(asgm("eval", run, "--set", "evaluate.frames=1", "--out", "alone", "--json").stdout)
    assert other["metrics"]["miou"] == pytest.approx(whole["metrics"]["miou_1"], abs=1e-3)
    asgm("predict", run / "segmenter.safetensors", CLIP, "--set", "predict.probabilities=true", "--files", "more")
    assert np.load("more/test_00000_masks.npz")["probabilities"].dtype == np.float16
    assert (Path("more") / "test_00000_strip.png").stat().st_size > 1000


@pytest.mark.long
def test_a_stopped_run_goes_on_to_the_same_weights(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asgm("train", "pixels.yaml")
    begun = stop_at(monkeypatch, segmentation, 3)
    assert "Stopped at step 3 of 4" in asgm("train", "pixels.yaml", "--runs", "again", code=75).output
    asgm("train", "pixels.yaml", "--runs", "again", "--resume")
    assert len(begun) == 4
    files = [Path(runs, "pixels/ufe/seed0", segmentation.WEIGHTS).read_bytes() for runs in ("runs", "again")]
    assert files[0] == files[1]


@pytest.mark.long
def test_a_run_starts_from_anothers_row(place: Path) -> None:
    asgm("train", "pixels.yaml", "--row", "plain", "--set", "train.max_steps=1")
    text = TEXT.format(manifest="data/demo_segmentation/manifest.csv").replace("name: pixels", "name: next")
    start = text.replace("mask_hidden: 8}", "mask_hidden: 8, init: {recipe: pixels, row: plain}}")
    Path("next.yaml").write_text(start)
    asgm("train", "next.yaml", "--row", "plain", "--set", "train.max_steps=1", "--set", "train.optimizer.lr=1e-30")
    weights = [Path(f"runs/{name}/plain/seed0/segmenter.safetensors") for name in ("pixels", "next")]
    from asgmcli.nn.state import read_state

    one, two = (read_state(path) for path in weights)
    assert all(np.allclose(one[name], two[name]) for name in one if "running" not in name and "num_" not in name)


@pytest.mark.long
@pytest.mark.parametrize("row", ["ufe", "avs"])
def test_it_is_exported_for_other_programs(place: Path, row: str) -> None:
    pytest.importorskip("onnxruntime")
    # 64 channels: a group of one value, which 32 pixels leave of 32 channels, has no norm.
    sizes = ("--set", "train.max_steps=1", "--set", "model.channels=64", "--runs", "exported")
    asgm("train", "pixels.yaml", "--row", row, *sizes)
    told = json.loads(asgm("export", f"exported/pixels/{row}/seed0", "--json").stdout)
    assert told["difference"] < 1e-3
