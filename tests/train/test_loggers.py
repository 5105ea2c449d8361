"""The numbers of metrics.jsonl on TensorBoard and Weights & Biases."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from asgmcli.commands.train import command
from asgmcli.recipe.read import load_recipe, recipe_hash
from asgmcli.train.loggers import scalars
from tests.tiny_training import write_recipe

SHORT = ("--set", "train.epochs=2", "--set", "train.evaluate_every=1", "--set", "train.supervised_epochs=0")
RUN = Path("runs/tiny/full/seed0")


@pytest.fixture
def recipe(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path, demo)


def train(recipe: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [str(recipe), *SHORT, *arguments])


def written() -> list[dict[str, float]]:
    """What metrics.jsonl holds, as loggers are shown it."""
    lines = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) > 2
    return [{"step": line["step"], **scalars(line)} for line in lines]


def test_a_line_s_numbers_have_names_of_their_own() -> None:
    line = {"step": 10, "epoch": 1, "loss": 2.5, "evaluation": {"top1": 40.0}, "note": ["a"]}
    assert scalars(line) == {"train/epoch": 1.0, "train/loss": 2.5, "evaluation/top1": 40.0}


def test_what_shows_a_run_does_not_make_it_another(recipe: Path) -> None:
    assert recipe_hash(load_recipe(recipe)) == recipe_hash(load_recipe(recipe, None, ("log.tensorboard=true",)))


def test_a_package_that_is_not_there_is_named_before_anything_is_made(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("tensorboard", "wandb") else find(name)
    )
    for name in ("tensorboard", "wandb"):
        result = train(recipe, "--set", f"log.{name}=true")
        assert result.exit_code == 2
        assert f'log.{name} needs {name}. Install what it needs: pip install "asgm[{name}]"' in result.stderr
    assert not Path("runs").exists()


def test_tensorboard_says_what_the_file_says_after_a_resume_too(recipe: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert train(recipe).exit_code == 0
    (RUN / "result.json").unlink()  # as if it had been stopped before its end
    result = train(recipe, "--resume", "--set", "log.tensorboard=true")
    assert result.exit_code == 0, result.output
    events = accumulator.EventAccumulator(str(RUN / "tensorboard"))
    events.Reload()
    found = {
        (event.step, tag, round(event.value, 3)) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)
    }
    expected = {
        (int(line["step"]), tag, round(value, 3)) for line in written() for tag, value in line.items() if tag != "step"
    }
    assert found == expected


@pytest.mark.long
def test_weights_and_biases_is_told_each_line_and_goes_on_with_its_run(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in for the package, which asks for an account."""
    begun: list[dict[str, Any]] = []
    told: list[dict[str, float]] = []

    def init(**settings: Any) -> Any:
        begun.append(settings)
        return SimpleNamespace(log=told.append, define_metric=lambda *_, **__: None, finish=lambda: None)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, __spec__=SimpleNamespace()))
    result = train(recipe, "--set", "log.wandb=true")
    assert result.exit_code == 0, result.output
    assert told == written()
    assert begun[0]["config"]["train"]["epochs"] == 2
    (RUN / "result.json").unlink()
    assert train(recipe, "--resume", "--set", "log.wandb=true").exit_code == 0
    assert begun[0]["id"] == begun[1]["id"]

    def refuse(**settings: Any) -> Any:
        raise RuntimeError("api_key not configured")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse, __spec__=SimpleNamespace()))
    (RUN / "result.json").unlink()
    refused = train(recipe, "--resume", "--set", "log.wandb=true")
    assert refused.exit_code == 3
    assert "api_key not configured. Run `wandb login`" in " ".join(refused.stderr.split())
