"""Where the weights that a recipe asks for come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asgmcli.errors import DataError, RecipeError
from asgmcli.recipe.sections import Guide, Start
from asgmcli.train.run import run_of
from asgmcli.train.task import Context
from tests.tiny_training import localization

CPU = torch.device("cpu")


def test_weights_come_from_the_run_of_the_recipes_default_row_and_seed(tmp_path: Path) -> None:
    recipe = localization("other", tmp_path)
    context = Context(CPU, tmp_path / "runs", tmp_path)
    for row, seed in (("a", 1), ("A", 0)):  # neighbours that sort before it
        folder = tmp_path / "runs" / "other" / row / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
        (folder / "w.safetensors").touch()
    with pytest.raises(
        DataError, match=r"no finished run with w\.safetensors here\. Make it: asgm train .*other\.yaml"
    ):
        context.weights_of(Guide(recipe="other"), "w.safetensors")
    folder = run_of(recipe, tmp_path / "runs").folder
    folder.mkdir()
    (folder / "w.safetensors").touch()
    with pytest.raises(DataError, match="no finished run"):
        context.weights_of(Start(recipe="other"), "w.safetensors")
    (folder / "result.json").write_text("{}")
    assert context.weights_of(Start(recipe="other"), "w.safetensors") == folder / "w.safetensors"


def test_weights_from_files_and_from_nowhere(tmp_path: Path) -> None:
    context = Context(CPU, tmp_path, tmp_path)
    assert context.weights_of(None, "w") is None
    assert context.weights_of(Start(timm="vit_tiny"), "w") is None
    (tmp_path / "mine.pt").touch()
    assert context.weights_of(Start(file=str(tmp_path / "mine.pt")), "w") == tmp_path / "mine.pt"
    with pytest.raises(DataError, match="no such weight file"):
        context.weights_of(Guide(file=str(tmp_path / "gone.pt")), "w")
    with pytest.raises(RecipeError, match="no such recipe"):
        context.weights_of(Start(recipe="gone"), "w")
