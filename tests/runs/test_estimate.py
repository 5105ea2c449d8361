"""What a run takes, counted without running it, against a real step; and what --dry-run says and leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from asgmcli.commands.train import command
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.runs.estimate import needs
from asgmcli.tasks import recognition
from tests.tiny_training import TEXT, tiny, trainer_of, write_recipe


def real_step(recipe: RecognitionRecipe, runs: Path) -> tuple[int, int, dict[str, int]]:
    """Operations of a real step with all its clips, the bytes it keeps, and the student's parameters by part."""
    trainer = trainer_of(recipe, runs)
    batch = next(iter(trainer.data.epoch(recipe.train.supervised_epochs)))
    trainer.state.begin_step(recipe.train.supervised_epochs, 0)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_leaf or not tensor.requires_grad:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    # With attention as plain products, torch's own counter sees them.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        recognition.train_step(trainer.state, batch)["loss"].backward()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        recognition.train_step(trainer.state, batch)
    student = trainer.state.student  # type: ignore[attr-defined]
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in student.named_children()}
    return counter.get_total_flops(), sum(kept.values()), parts


@pytest.mark.parametrize("row", ["full", "video"])
def test_the_counts_are_those_of_a_real_step(row: str, demo: Path, tmp_path: Path) -> None:
    recipe = tiny(
        tmp_path, demo, row, losses__contrastive__weight=0.0
    )  # whose products of class tokens are not counted
    found = needs(recipe, 10)
    operations, kept, parts = real_step(recipe, tmp_path / "runs")
    assert found.parameters == parts
    assert found.step.operations == operations
    # The losses keep a little more.
    assert found.step.kept <= kept < 1.15 * found.step.kept
    weights = 4 * sum(parts.values())
    assert found.states == 4 * weights  # weights, gradients, momentum, teacher
    assert found.supervised.operations < found.step.operations / 4
    twice = needs(recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch": 4})}), 10)
    # Twice as many, but for products of two weights, which a step takes once.
    assert 0 <= 2 * operations - twice.step.operations < operations / 100
    assert twice.view == found.view


def dry(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), "--dry-run"])


def test_a_dry_run_tells_and_leaves_nothing(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_recipe(tmp_path, demo)
    before = sorted(tmp_path.iterdir())
    result = dry(path, "--set", "train.epochs=4")
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout)["train"]["epochs"] == 4
    (found,) = json.loads(dry(path, "--set", "train.epochs=4", "--json").stdout)["runs"]
    assert found["clips"] == {"labeled": 10, "unlabeled": 20, "judged": 10}
    assert found["steps"] == 20
    assert found["state"] == "not begun"
    assert found["recipe"]["train"]["epochs"] == 4
    one = needs(tiny(tmp_path, demo), 10)
    # One supervised epoch of 5 steps, three with all clips, 10 clips judged by one view.
    expected = 5 * one.supervised.operations + 15 * one.step.operations + 10 * one.view.operations
    assert found["operations"]["all"] == expected
    assert found["least_seconds"] == pytest.approx(expected / found["operations_per_second"])
    rows = json.loads(dry(path, "--row", "all", "--seeds", 2, "--json").stdout)["runs"]
    assert [(row["recipe"]["default_row"], row["recipe"]["seed"]) for row in rows] == [
        ("full", 0),
        ("video", 0),
        ("full", 1),
        ("video", 1),
    ]
    assert sorted(tmp_path.iterdir()) == before


def test_a_dry_run_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "away.yaml").write_text(
        TEXT.replace("dataset: demo", "dataset: ucf51")
        .replace("video: {dim", "video: {init: {file: start.pth}, dim")
        .replace("audio: {dim", "audio: {init: {timm: vit_base_patch16_224.augreg_in21k}, dim")
    )
    result = dry(tmp_path / "away.yaml", "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["runs"]
    assert "asgm prepare ucf51 --root FOLDER" in found["missing"]
    assert found["clips"] is found["steps"] is found["least_seconds"] is None
    assert found["parameters"]["all"] > 0
    assert found["before"] == [
        "file start.pth: MISSING",
        "timm's vit_base_patch16_224.augreg_in21k: not in weights/, is fetched",
    ]
