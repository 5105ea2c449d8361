"""What a recipe needs is made first: side by side where the cores and the recipes allow it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from asgmcli.errors import UsageError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.runs import session as module
from asgmcli.runs.session import Session
from asgmcli.runs.sweep import Job
from asgmcli.train.run import run_of
from tests.tiny_training import tiny

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is trained, in order; those side by side in one entry."""
    calls: list[str] = []

    def run(self: Session, recipe: Recipe, *, resume: bool = False, overwrite: bool = False) -> None:
        calls.append(recipe.name)

    def run_jobs(jobs: Sequence[Job], parallel: int, console: Console) -> None:
        calls.append(" and ".join(job.title for job in jobs) + f" on {parallel}")
        for job in jobs:
            assert job.arguments[0] == str(RECIPES / f"{job.title}.yaml")
            assert job.arguments[-3:] == ["--seed", "0", "--resume"]

    monkeypatch.setattr(Session, "run", run)
    monkeypatch.setattr(module, "run_jobs", run_jobs)
    return calls


def ensure(demo: Path, tmp_path: Path, device: str = "cpu", row: str = "asgm_former") -> None:
    override = (f"data.manifest={demo / 'manifest.csv'}", "data.labeled_per_class=1")
    recipe = load_recipe(RECIPES / "demo.yaml", row, override)
    console = Console(file=io.StringIO())
    Session(tmp_path / "runs", RECIPES, torch.device(device), console)._make(
        recipe, [load_recipe(RECIPES / f"{name}.yaml", None) for name in ("demo_pretext", "demo_localizer")]
    )


def test_starts_that_share_nothing_are_made_side_by_side(
    demo: Path, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "_ensure_data", lambda self, recipe: None)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
    ensure(demo, tmp_path)
    assert made == ["demo_pretext and demo_localizer on 2"]
    made.clear()
    # One core or a GPU is not shared; the localizer's own start then comes before it.
    monkeypatch.setattr(module.os, "cpu_count", lambda: 1)
    monkeypatch.setitem(module.TASKS, "localization", _NoData)
    ensure(demo, tmp_path)
    ensure(demo, tmp_path, device="meta")
    assert made == ["demo_pretext", "demo_localizer_pretext", "demo_localizer"] * 2


def test_starts_that_need_the_same_one_are_made_in_turn(
    demo: Path, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "_ensure_data", lambda self, recipe: None)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
    monkeypatch.setitem(module.TASKS, "localization", _NoData)
    needed = load_recipe(RECIPES / "demo_localizer.yaml")
    own = load_recipe(RECIPES / "demo_localizer_pretext.yaml")
    Session(tmp_path / "runs", RECIPES, torch.device("cpu"), Console(file=io.StringIO()))._make(needed, [own, needed])
    assert made == ["demo_localizer_pretext", "demo_localizer_pretext", "demo_localizer"]


def test_what_was_begun_before_its_recipe_changed_goes_on_as_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(Session, "run", lambda self, recipe, resume: calls.append((recipe.train.epochs, resume)))
    monkeypatch.setattr(Session, "_ensure_data", lambda self, recipe: None)
    monkeypatch.setitem(module.TASKS, "localization", _NoData)
    needed = load_recipe(RECIPES / "demo_localizer_pretext.yaml")
    begun = load_recipe(RECIPES / "demo_localizer_pretext.yaml", None, ("train.epochs=3",))
    run_of(needed, tmp_path).prepare(begun, resume=False, overwrite=False)
    told = io.StringIO()
    session = Session(tmp_path, RECIPES, torch.device("cpu"), Console(file=told))
    session._make(load_recipe(RECIPES / "demo_localizer.yaml"), [needed])
    assert calls == [(3, True)]
    assert f"train.epochs: stored 3, now {needed.train.epochs}" in told.getvalue()


@pytest.mark.parametrize("cores", [1, None])
def test_a_step_takes_the_cores_that_the_recipe_says(
    cores: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Work:
        data = SimpleNamespace(summary=dict)

        def fit(self) -> dict[str, int]:
            return {"cores": torch.get_num_threads()}

    monkeypatch.setattr(module, "make_trainer", lambda *_: Work())
    recipe = load_recipe(RECIPES / "demo_localizer_pretext.yaml", None, (f"train.cores={json.dumps(cores)}",))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        result = Session(tmp_path, RECIPES, torch.device("cpu"), Console(file=io.StringIO())).run(recipe)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert result == {"cores": cores or 3}


class _NoData:
    """A task whose data are taken as right."""

    @staticmethod
    def before(recipe: Recipe, console: Console) -> None:
        return None

    @staticmethod
    def build_data(recipe: Recipe) -> None:
        return None


def test_a_run_goes_on_with_what_a_machine_gave_it_or_gives_it_now(demo: Path, tmp_path: Path) -> None:
    first = tiny(tmp_path, demo, train__cores=1, train__save_minutes=2.0)
    run_of(first, tmp_path / "runs").prepare(first, resume=False, overwrite=False)
    session = Session(tmp_path / "runs", tmp_path, torch.device("cpu"), Console(file=io.StringIO()))
    today = tiny(tmp_path, demo)
    for overrides, expected in (((), (1, 2.0)), (("train.cores=3",), (3, 2.0))):
        on = session.going_on(today, overrides)
        assert isinstance(on, RecognitionRecipe)
        assert (on.train.cores, on.train.save_minutes) == expected
    with pytest.raises(UsageError, match=r"other settings: train\.batch: stored 2, now 7\. Resume without"):
        session.going_on(today, ("train.cores=3", "train.batch=7"))
