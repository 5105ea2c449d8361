"""What several commands are asked about: a folder with a finished run of a recognizer and of a localizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.synthetic.demo import generate
from tests.conftest import leave_blank

RECOGNITION = """
name: tiny
task: recognition
title: Tiny recognition
default_row: both
rows:
  both: {{title: picture and sound, paper: {{top1: 78.6}}}}
  video: {{title: picture alone, set: {{model.modality: video, losses.contrastive.weight: 0.0}}}}
data: {{dataset: demo, manifest: {manifest}, labeled_per_class: 1}}
clip: {{frames: 2, stride: 2, size: 32, short_side: [32, 36]}}
audio: {{seconds: 1.0, mels: 32}}
model:
  video: {{dim: 16, depth: 1, heads: 2, patch_size: 16, init: none}}
  audio: {{dim: 16, depth: 1, heads: 2, patch_size: 16, init: none}}
  fusion: {{layers: 1, heads: 2}}
masks: {{kind: tube}}
evaluate: {{clips: 2, crops: 3, batch: 4}}
train: {{epochs: 1, batch: 2, unlabeled_ratio: 1, supervised_epochs: 0, max_steps: 2}}
"""
LOCALIZATION = """
name: tiny_localizer
task: localization
title: Tiny localizer
default_row: fnac
rows: {{fnac: {{title: contrastive}}}}
data: {{dataset: demo, manifest: {manifest}, eval_split: val, keep_decoded: true}}
model: {{dim: 8, width: 4, stride: 8, image_dropout: 0.0, init: none}}
input: {{size: 48, resize: 48, seconds: 1.0}}
evaluate: {{frames: 2, batch: 4}}
train: {{epochs: 1, batch: 4, max_steps: 2}}
"""


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small demo set, two recipes, and a finished run of each; tests only read it."""
    folder = tmp_path_factory.mktemp("house")
    with pytest.MonkeyPatch.context() as patch:
        leave_blank(patch)
        fill(folder)
    return folder


def fill(folder: Path) -> None:
    """Generate the demo set and train both recipes."""
    import torch
    from rich.console import Console

    from asgmcli.recipe.read import load_recipe
    from asgmcli.runs.session import Session

    generate(folder / "data" / "demo", train=20, val=10, test=10, size=48, seconds=1.0, workers=1)
    manifest = folder / "data" / "demo" / "manifest.csv"
    session = Session(folder / "runs", folder, torch.device("cpu"), Console(stderr=True, quiet=True))
    for name, text in (("tiny", RECOGNITION), ("tiny_localizer", LOCALIZATION)):
        path = folder / f"{name}.yaml"
        path.write_text(text.format(manifest=manifest))
        session.run(load_recipe(path))
