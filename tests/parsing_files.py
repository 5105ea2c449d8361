"""A data set for video parsing without media: features in which classes are directions, and a recipe for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from asgmcli.data.features import FeatureWriter, Origin, features_folder
from asgmcli.data.manifest import Manifest, ManifestRow, write_manifest
from asgmcli.data.segments import Span, grid_to_spans, segments_csv
from asgmcli.files import write_text

CLASSES = ("bell", "dog", "horn", "rain")
DIMS = (6, 8, 5)
STORES = ("audio_vggish", "image_resnet152", "motion_r2plus1d18")
COUNTS = {"train": 24, "val": 6, "test": 8}


def write_set(folder: Path, *, val: bool = True, times: bool = True, long: bool = False) -> Manifest:
    """Write manifest, segments and stores; `long` makes the first test clip 23 s long, three windows."""
    rng = np.random.default_rng(5)
    directions = [rng.standard_normal((len(CLASSES), dim)) for dim in DIMS]
    rows, events, features = [], {}, {}
    for split, count in COUNTS.items():
        for number in range(count if val or split != "val" else 0):
            name = f"{split}_{number}"
            windows = 3 if long and (split, number) == ("test", 0) else 1
            duration = 23.0 if windows == 3 else 10.0
            rows.append(ManifestRow(name, f"{name}.npy", "", split, duration, 8.0, 80, 0, 0, "", ""))
            grid = np.zeros((2, 10 * windows, len(CLASSES)), bool)
            for label in rng.choice(len(CLASSES), int(rng.integers(1, 3)), replace=False):
                for modality in range(2):
                    start = int(rng.integers(0, 5))
                    grid[modality, start : start + int(rng.integers(3, 6)), label] = True
            grid[:, int(duration) :] = False
            bag = np.flatnonzero(grid.any(axis=(0, 1)))
            spans = [Span(0.0, 10.0 * windows, CLASSES[label], modality="clip") for label in bag]
            for modality, kind in enumerate(("audio", "visual") if split != "train" and times else ()):
                spans += grid_to_spans(grid[modality], None, CLASSES, modality=kind)
            events[name] = spans
            features[name] = [
                grid[min(place, 1)] @ directions[place] + 0.3 * rng.standard_normal((10 * windows, DIMS[place]))
                for place in range(3)
            ]
    manifest = write_manifest(folder, rows, CLASSES)
    write_text(folder / "segments.csv", segments_csv(events, rows, modality=True))
    write_text(folder / "summary.json", json.dumps({"dataset": "own", "listed": {"train": 30, "val": 6, "test": 9}}))
    stores = features_folder(folder)
    stores.mkdir()
    origin = Origin(manifest.sha256, "released", {"maker": "released"})
    clips = {name: len(parts[0]) // 10 for name, parts in features.items()}
    for place, store in enumerate(STORES):
        with FeatureWriter(stores, store, origin, clips, (10, DIMS[place])) as writer:
            writer.write((name, parts[place].reshape(-1, 10, DIMS[place])) for name, parts in features.items())
    return manifest


RECIPE = """
name: tiny_parsing
task: parsing
title: Tiny
default_row: whole
rows:
  whole: {title: all three, set: {model.attention: global, model.skip: true, losses.adversarial.weight: 0.4}}
  han: {title: HAN, set: {model.kind: han, losses.guided.weight: 1.0}}
  pooling: {title: pooling, set: {model.kind: pooling}}
data: {dataset: own, manifest: MANIFEST}
model: {dim: 16}
train: {epochs: 10, batch: 10, optimizer: {kind: adam, lr: 1e-2, weight_decay: 0.0, schedule: constant}}
"""


def write_recipe(folder: Path, data: Path) -> Path:
    """Write tiny_parsing.yaml."""
    path = folder / "tiny_parsing.yaml"
    path.write_text(RECIPE.replace("MANIFEST", json.dumps(str(data / "manifest.csv"))))
    return path
