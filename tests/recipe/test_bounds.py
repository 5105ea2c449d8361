"""Sizes that no machine holds are refused at once, with their bound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asgmcli.errors import RecipeError
from asgmcli.recipe.read import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
ENORMOUS = {
    "recognition": (
        ("train.epochs", 1_000_000),
        ("train.batch", 65_536),
        ("train.unlabeled_ratio", 1024),
        ("train.accumulate", 65_536),
        ("train.max_steps", 100_000_000),
        ("clip.frames", 1024),
        ("clip.stride", 10_000),
        ("clip.size", 4096),
        ("audio.mels", 1024),
        ("audio.seconds", 3600),
        ("model.video.dim", 16_384),
        ("model.video.depth", 256),
        ("model.video.heads", 256),
        ("model.video.tubelet", 1024),
        ("model.audio.depth", 256),
        ("model.fusion.layers", 256),
        ("evaluate.clips", 1024),
        ("evaluate.batch", 65_536),
        ("data.workers", 1024),
        ("augment.operations", 100),
        ("data.options.train", 10_000_000),
    ),
    "localization": (("model.dim", 16_384), ("model.width", 16_384), ("input.size", 4096), ("evaluate.frames", 1024)),
    "pretext": (("generated.train", 10_000_000), ("generated.test", 10_000_000), ("model.video.depth", 256)),
    "masks": (("grid", 56), ("example.frame", 8)),
}


@pytest.mark.parametrize("task", ENORMOUS)
def test_a_size_beyond_any_machine_is_refused_with_its_bound(task: str) -> None:
    shipped = {"recognition": "demo", "localization": "demo_localizer", "pretext": "demo_pretext"}
    path = RECIPES / f"{shipped.get(task, 'figure3_masks')}.yaml"
    for key, bound in ENORMOUS[task]:
        with pytest.raises(RecipeError) as caught:
            load_recipe(path, None, (f"{key}=1000000000",))
        (line,) = (line for line in caught.value.message.splitlines() if key in line or "options.train" in line)
        assert str(bound) in line


def test_an_enormous_depth_ends_the_command_before_anything_heavy_is_loaded() -> None:
    code = (
        "import sys; from asgmcli.cli import main; sys.argv = ['asgm', 'train', sys.argv[1], '--set', "
        "'model.video.depth=1000000000']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", code, str(RECIPES / "demo.yaml")]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "2 False\n"
    assert "model.video.depth = 1000000000: input should be less than or equal to 256" in result.stderr
