"""What a recipe needs is made first: side by side where the cores and the recipes allow it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from asgmcli.errors import AsgmError, RecipeError, UsageError
from asgmcli.ranks.device import choose_device
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import dump_yaml, load_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.runs import session as module
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.runs.session import Session, matching_runs, other_recipes
from asgmcli.runs.sweep import Job
from asgmcli.train.run import run_of
from tests.calling import quiet
from tests.tiny_training import localization, tiny, write_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is trained, in order; those side by side in one entry."""
    calls: list[str] = []

    def run(self: Session, recipe: Recipe, *, resume: bool = False, overwrite: bool = False) -> None:
        calls.append(recipe.name)

    def run_jobs(
        jobs: Sequence[Job], devices: Sequence[str], parallel: int, console: Console, later: float | None
    ) -> None:
        assert later is not None
        assert later > 0
        calls.append(f"on {parallel}")
        for job in jobs:
            after = " after " + ", ".join(job.after) if job.after else ""
            calls.append(job.title + after)
        for job in jobs:
            assert job.arguments[0] == str(RECIPES / f"{job.title.partition('/')[0]}.yaml")
            assert job.arguments[-3:] == ["--seed", "0", "--resume"]

    monkeypatch.setattr(Session, "run", run)
    monkeypatch.setattr(module, "run_jobs", run_jobs)
    return calls


def ensure(demo: Path, tmp_path: Path, device: str = "cpu", row: str = "asgm_former") -> None:
    override = (f"data.manifest={demo / 'manifest.csv'}", "data.labeled_per_class=1")
    recipe = load_recipe(RECIPES / "demo.yaml", row, override)
    console = quiet()
    Session(tmp_path / "runs", RECIPES, torch.device(device), console)._make(
        recipe, [load_recipe(RECIPES / f"{name}.yaml", None) for name in ("demo_pretext", "demo_localizer")]
    )


@pytest.mark.long
def test_starts_that_share_nothing_are_made_side_by_side(
    demo: Path, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "_ensure_data", lambda self, recipe: None)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
    ensure(demo, tmp_path)
    # The localizer's own start is one of those that begin, and the localizer waits for it alone.
    start = "demo_localizer_pretext/start seed 0"
    assert made == ["on 2", "demo_pretext/start seed 0", start, f"demo_localizer/fnac seed 0 after {start}"]
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
    Session(tmp_path / "runs", RECIPES, torch.device("cpu"), quiet())._make(needed, [own, needed])
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
        result = Session(tmp_path, RECIPES, torch.device("cpu"), quiet()).run(recipe)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert result == {"cores": cores or 3}


class _NoData:
    """A task whose data are taken as right."""

    COPIES = 1

    @staticmethod
    def network(recipe: Recipe, classes: int) -> nn.Module:
        return nn.Linear(1, 1)

    @staticmethod
    def decoded(recipe: Recipe) -> None:
        return None

    @staticmethod
    def before(recipe: Recipe, console: Console) -> None:
        return None

    @staticmethod
    def build_data(recipe: Recipe) -> None:
        return None


def test_a_run_goes_on_with_what_a_machine_gave_it_or_gives_it_now(demo: Path, tmp_path: Path) -> None:
    first = tiny(tmp_path, demo, train__cores=1, train__save_minutes=2.0)
    run_of(first, tmp_path / "runs").prepare(first, resume=False, overwrite=False)
    session = Session(tmp_path / "runs", tmp_path, torch.device("cpu"), quiet())
    today = tiny(tmp_path, demo)
    for overrides, expected in (((), (1, 2.0)), (("train.cores=3",), (3, 2.0))):
        on = session.going_on(today, overrides)
        assert isinstance(on, RecognitionRecipe)
        assert (on.train.cores, on.train.save_minutes) == expected
    with pytest.raises(UsageError, match=r"other settings: train\.batch: stored 2, now 7\. Resume without"):
        session.going_on(today, ("train.cores=3", "train.batch=7"))


CPU = torch.device("cpu")


def test_recipes_that_need_each_other_are_told(tmp_path: Path) -> None:
    first = localization("first", tmp_path, {"recipe": "second"})
    localization("second", tmp_path, {"recipe": "first"})
    with pytest.raises(RecipeError, match="first -> second -> first"):
        Session(tmp_path / "runs", tmp_path, CPU, quiet()).ensure(first)


def test_a_prerequisite_whose_recipe_has_changed_is_used_and_told(tmp_path: Path) -> None:
    needed = localization("needed", tmp_path)
    run = run_of(needed, tmp_path / "runs")
    run.prepare(needed, resume=False, overwrite=False)
    run.result_path.write_text("{}")
    session = Session(tmp_path / "runs", tmp_path, CPU, quiet())
    user = localization("user", tmp_path, {"recipe": "needed"})
    session.ensure(user)
    assert session.console.file.getvalue() == ""  # type: ignore[attr-defined]
    text = (tmp_path / "needed.yaml").read_text().replace("resize: 246", "resize: 250")
    (tmp_path / "needed.yaml").write_text(text)
    session.ensure(user)
    assert "input.resize: stored 246, now 250" in session.console.file.getvalue()  # type: ignore[attr-defined]


def test_data_that_is_not_there(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session(tmp_path / "runs", tmp_path, CPU, quiet())
    recipe = tiny(tmp_path, demo)
    for data, words in (
        ({"dataset": "ucf51"}, r"not prepared\. Make it: asgm prepare ucf51 --root FOLDER$"),
        ({"dataset": "mine"}, r"asgm prepare folder --root FOLDER --out data/mine$"),
        ({"dataset": "ufc51"}, r"did you mean 'ucf51'\?"),
        ({"dataset": "demo", "options": {"clips": 3}}, r"data\.options: clips: demo takes train \(whole number\)"),
        ({"dataset": "demo", "options": {"train": 3.5}}, r"data\.options: train"),
        (
            {"dataset": "demo_segmentation", "options": {"things": 3}},
            r"size \(.*\)\. things names a folder: asgm prepare",
        ),
    ):
        changed = recipe.model_copy(update={"data": recipe.data.model_copy(update={"manifest": None, **data})})
        with pytest.raises(AsgmError, match=words):
            session.ensure(changed)
    assert not (tmp_path / "data").exists()


def test_the_demo_is_made_on_the_spot_with_its_options(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    session = Session(tmp_path / "runs", tmp_path, CPU, quiet())
    recipe = tiny(tmp_path, demo)
    options = {"train": 2, "val": 0, "test": 1, "seconds": 0.5}
    data = recipe.data.model_copy(update={"manifest": None, "options": options})
    session.ensure(recipe.model_copy(update={"data": data}))
    assert len(list((tmp_path / "data" / "demo" / "clips").rglob("*.mp4"))) == 3
    session.ensure(recipe.model_copy(update={"data": data}))
    assert session.console.file.getvalue().count("generating") == 1  # type: ignore[attr-defined]
    other = data.model_copy(update={"options": {**options, "train": 3}})
    with pytest.raises(UsageError, match="train 2 there, 3 now"):
        session.ensure(recipe.model_copy(update={"data": other}))


def test_which_recipes_a_recipe_needs(demo: Path, tmp_path: Path) -> None:
    needs: dict[str, Any] = {"model__video__init": {"recipe": "a"}, "model__audio__init": {"recipe": "b"}}
    recipe = tiny(tmp_path, demo, masks__kind="localization", localizer={"recipe": "c"}, **needs)
    assert [source.recipe for source in other_recipes(recipe)] == ["a", "b", "c"]
    assert [source.recipe for source in other_recipes(tiny(tmp_path, demo, **needs))] == ["a", "b"]
    assert [
        source.recipe for source in other_recipes(tiny(tmp_path, demo, "video", model__video__init={"recipe": "a"}))
    ] == ["a"]


def test_devices() -> None:
    assert choose_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert choose_device("auto") == CPU
        with pytest.raises(UsageError, match="sees no CUDA device"):
            choose_device("cuda")


def test_runs_of_other_settings_do_not_count(demo: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, demo)
    for row, seed, epochs in (("full", 0, 3), ("full", 1, 2), ("video", 0, 3), ("gone", 0, 3)):
        recipe = load_recipe(path, "full" if row == "gone" else row, (f"train.epochs={epochs}",), seed)
        run = run_of(recipe.model_copy(update={"default_row": row}), tmp_path / "runs")
        run.folder.mkdir(parents=True)
        run.recipe_path.write_text(dump_yaml(recipe))
        run.result_path.write_text(json.dumps({"row": row, "seed": seed, "metrics": {"top1": 50.0}}))
    results, left_out = matching_runs(tmp_path / "runs", RecipeFile(path), ())
    assert [(found["row"], found["seed"]) for found in results] == [("full", 0), ("video", 0)]
    assert len(left_out) == 2
    assert "train.epochs: stored 2, now 3" in str(left_out[0])
    assert "no row 'gone'" in str(left_out[1])
