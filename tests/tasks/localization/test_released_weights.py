"""A checkpoint as FNAC's training saves it, from the command line: on a clip, and on pictures with sound and boxes."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from asgmcli.commands.eval import command as eval_command
from asgmcli.commands.localize import command as localize_command
from asgmcli.commands.prepare import command as prepare_command
from asgmcli.data.manifest import read_manifest
from asgmcli.nn.localizer import FNAC

ANNOTATION = """<annotations>
  <first><bbox><label>dog</label><xmin>0</xmin><ymin>0</ymin><xmax>128</xmax><ymax>256</ymax></bbox></first>
  <second><bbox><label>dog</label><xmin>0</xmin><ymin>0</ymin><xmax>128</xmax><ymax>256</ymax></bbox></second>
  <third><bbox><label>cat</label><xmin>400</xmin><ymin>0</ymin><xmax>500</xmax><ymax>256</ymax></bbox></third>
</annotations>"""


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """best.pth: `model` of DataParallel beside the optimizer's state and scores that are numpy scalars."""
    torch.manual_seed(0)
    network = FNAC()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4)
    content = {
        "model": {f"module.{name}": value for name, value in network.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "epoch": 12,
        "best_cIoU": np.float64(0.35),
        "best_Auc": np.float64(0.38),
    }
    path = tmp_path_factory.mktemp("released") / "best.pth"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared Flickr-SoundNet of four pairs, three of them with boxes."""
    root, out = tmp_path_factory.mktemp("flickr"), tmp_path_factory.mktemp("prepared")
    (root / "Annotations").mkdir()
    rng = np.random.default_rng(0)
    for name in ("11", "22", "33", "44"):
        coarse = Image.fromarray(rng.integers(0, 255, (8, 10, 3), dtype=np.uint8))
        coarse.resize((640, 512)).save(root / f"{name}.{'png' if name == '22' else 'jpg'}")
        with wave.open(str(root / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(rng.integers(-9000, 9000, 16_000 * 4, dtype=np.int16).tobytes())
        if name != "44":
            (root / f"Annotations/{name}.xml").write_text(ANNOTATION)
    done = run(prepare_command, "flickr_soundnet", "--root", root, "--out", out, "--workers", 1, "--verify")
    assert done.exit_code == 0, done.output
    return out


def run(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])  # type: ignore[arg-type]


def test_it_localizes_a_clip(best: Path, demo: Path, tmp_path: Path) -> None:
    clip = read_manifest(demo).resolve(read_manifest(demo).rows[0])
    options = ("--weights", best, "--fps", 1, "--write", "maps", "--out", tmp_path, "--json")
    result = run(localize_command, clip, *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["clips"][0]["localizer"] == "fnac"
    maps = np.load(tmp_path / f"{clip.stem}_maps.npz")["maps"]
    assert maps.shape[1:] == (7, 7)
    assert np.isfinite(maps).all()


@pytest.mark.pictures
def test_it_is_judged_on_pictures_by_what_their_annotators_agree_on(best: Path, pictures: Path, tmp_path: Path) -> None:
    manifest = read_manifest(pictures)
    assert {row.id: row.split for row in manifest.rows} == {"11": "test", "22": "test", "33": "test", "44": "train"}
    # The third annotator's box lies outside the picture: it is none.
    assert len((pictures / "boxes.csv").read_text().splitlines()) == 1 + 3 * 2
    options = ("--data", pictures, "--localizer", "motion", "--out", tmp_path / "evaluated", "--json")
    result = run(eval_command, best, *options)
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)["metrics"]
    # Two people drew each picture: no single box to be inside of.
    assert set(metrics) == {f"{who}{name}" for who in ("", "motion_") for name in ("ciou50", "ciou", "auc")}
    # One picture shows no motion: its map is uniform, all of it counts as hot, half of it is the box.
    assert metrics["motion_ciou"] == pytest.approx(50)
    assert Image.open(tmp_path / "evaluated" / "localization.png").width > 400
