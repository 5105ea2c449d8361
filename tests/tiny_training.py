"""A recognition recipe so small that a training step takes milliseconds, and how to run it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rich.console import Console

from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.read import check_recipe, dump_yaml, load_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks import recognition
from asgmcli.train.loop import Trainer, make_trainer
from asgmcli.train.run import run_of
from asgmcli.train.task import Context

TEXT = """
name: tiny
task: recognition
title: Tiny
default_row: full
rows:
  full: {title: sound and picture}
  video: {title: picture, set: {model.modality: video, losses.contrastive.weight: 0.0}}
data: {dataset: demo, labeled_per_class: 1, keep_decoded: true}
clip: {frames: 4, stride: 2, size: 24, short_side: [24, 28]}
audio: {seconds: 0.64, mels: 16}
augment: {frequency_mask: 4, time_mask: 8}
model:
  video: {dim: 8, depth: 2, heads: 2, patch_size: 8, drop_path: 0.3}
  audio: {dim: 8, depth: 1, heads: 2, patch_size: 16, drop_path: 0.3}
  fusion: {layers: 1, heads: 2}
thresholds: {value: 0.11}
masks: {kind: tube}
evaluate: {clips: 1, crops: 1, batch: 4}
train:
  epochs: 3
  batch: 2
  unlabeled_ratio: 2
  supervised_epochs: 1
  ema_decay: 0.9
  optimizer: {lr: 0.05}
"""
STEPS_AN_EPOCH = 5  # 20 unlabelled clips, 4 a step


def write_recipe(folder: Path, demo: Path) -> Path:
    """tiny.yaml in `folder`, reading the data set in `demo`."""
    path = folder / "tiny.yaml"
    path.write_text(
        TEXT.replace("dataset: demo,", f"dataset: demo, manifest: {json.dumps(str(demo / 'manifest.csv'))},")
    )
    return path


def write_start(folder: Path) -> Path:
    """start.yaml in `folder`: a pretext whose encoders fit those of tiny.yaml, generated and trained in seconds."""
    start = {"name": "start", "task": "pretext", "title": "Start", "default_row": "start"}
    sizes = {
        "clip": {"frames": 4, "stride": 2, "size": 24},
        "audio": {"seconds": 0.64, "mels": 16},
    }
    encoders = {
        "video": {"dim": 8, "depth": 2, "heads": 2, "patch_size": 8},
        "audio": {"dim": 8, "depth": 1, "heads": 2, "patch_size": 16},
    }
    few = {"generated": {"train": 12, "test": 4}, "train": {"epochs": 1, "batch": 6, "optimizer": {"lr": 1e-3}}}
    path = folder / "start.yaml"
    path.write_text(json.dumps({**start, **sizes, **few, "model": encoders, "rows": {"start": {"title": "start"}}}))
    return path


def tiny(folder: Path, demo: Path, row: str | None = None, **changes: object) -> RecognitionRecipe:
    """The recipe with changes; `clip__size=16` sets clip.size."""
    overrides = tuple(f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items())
    recipe = load_recipe(write_recipe(folder, demo), row, overrides)
    assert isinstance(recipe, RecognitionRecipe)
    return recipe


def localization(name: str, folder: Path, init: dict[str, str] | None = None) -> LocalizationRecipe:
    """A recipe of a localizer whose clips are not there, also as a file in `folder`."""
    values: dict[str, Any] = {"name": name, "task": "localization", "title": name, "default_row": "a"}
    values |= {"rows": {"a": {"title": "a"}}, "data": {"dataset": "demo", "manifest": "gone.csv"}}
    recipe = check_recipe({**values, "model": {"init": init or "none"}}, folder)
    assert isinstance(recipe, LocalizationRecipe)
    (folder / f"{name}.yaml").write_text(dump_yaml(recipe))
    return recipe


def trainer_of(
    recipe: RecognitionRecipe, runs: Path, *, task: Any = recognition, resume: bool = False, overwrite: bool = False
) -> Trainer:
    """A trainer in a prepared folder under `runs`; what it prints goes to `trainer.console.file`."""
    run = run_of(recipe, runs)
    run.prepare(recipe, resume=resume, overwrite=overwrite)
    console = Console(file=io.StringIO(), width=200)
    return make_trainer(task, recipe, run, Context(torch.device("cpu"), runs), console)


def watched(ids: list[list[str]], at: int = -1, act: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The recognition task, noting every step's clips in `ids`; `act` is given the terms of the run's step `at`."""

    def train_step(state: Any, batch: Any) -> dict[str, Any]:
        ids.append(batch.ids)
        terms = recognition.train_step(state, batch)
        if state.step == at and act is not None:
            terms = act(terms) or terms
        return terms

    functions = dict(vars(recognition))
    return SimpleNamespace(**{**functions, "train_step": train_step})
