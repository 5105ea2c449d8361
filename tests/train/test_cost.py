"""What a run takes, counted without running it, against a real step."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from asgmcli.recipe.base import Recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.runs.counts import needs as needs_or_none
from asgmcli.tasks import recognition
from asgmcli.train import cost
from tests.tiny_training import tiny, trainer_of

RECIPES = Path(__file__).parents[2] / "recipes"


def needs(recipe: Recipe, classes: int) -> cost.Needs:
    found = needs_or_none(recipe, classes)
    assert found is not None
    return found


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


@pytest.mark.long
def test_no_content_is_made_and_no_generator_is_drawn_from(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, model__video__dim=4096, model__video__depth=64, model__audio__dim=4096)
    before = torch.random.get_rng_state(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(needs(recipe, 10).parameters.values()) > 10**10  # 40 GB of weights
    assert torch.equal(torch.random.get_rng_state(), before[0])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before[1]
    assert grown < (500 << 20 if sys.platform == "darwin" else 500 << 10)  # bytes there, kilobytes elsewhere
