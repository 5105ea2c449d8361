"""The training loop: resumed runs are the straight ones, and whatever stops a run leaves it whole."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from asgmcli.data.manifest import read_manifest
from asgmcli.errors import DataError, Interrupted, InterruptedByKeyboard, UsageError
from asgmcli.recipe.read import load_recipe, recipe_hash
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks import recognition
from asgmcli.tasks.recognition.batch import EvaluationBatch
from asgmcli.train.checkpoint import load_state, save_state, state_size
from asgmcli.train.loop import Trainer
from asgmcli.train.run import run_of
from asgmcli.train.task import Evaluation
from tests.calling import Harmful
from tests.steady import outcome, same
from tests.tiny_training import STEPS_AN_EPOCH, tiny, trainer_of, watched

STEPS = 12


def signal_self(number: int) -> Any:
    return lambda terms: os.kill(os.getpid(), number)


CHANGES: dict[str, Any] = {"train__max_steps": STEPS, "train__evaluate_every": 1}
ADAMW: dict[str, Any] = {
    "train__optimizer": {"kind": "adamw", "lr": 0.01, "schedule": "cosine", "warmup_steps": 3, "clip_norm": 1.0}
}


@pytest.fixture(scope="module")
def straight(
    demo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[RecognitionRecipe], tuple[Trainer, list[list[str]]]]:
    """A run of a recipe that is never stopped, and its clips step by step; trained once for all that compare."""
    known: dict[str, tuple[Trainer, list[list[str]]]] = {}

    def run(recipe: RecognitionRecipe) -> tuple[Trainer, list[list[str]]]:
        name = recipe_hash(recipe)
        if name not in known:
            ids: list[list[str]] = []
            known[name] = trainer_of(recipe, tmp_path_factory.mktemp("straight"), task=watched(ids)), ids
            known[name][0].fit()
        return known[name]

    return run


@pytest.mark.parametrize(
    ("stop", "workers", "then", "changes"),
    [
        (7, 0, 0, {}),  # within the second epoch, and within the ten steps whose means make a line of metrics
        pytest.param(
            7, 2, 0, ADAMW, marks=pytest.mark.long
        ),  # goes on with other loader workers, as on another machine
        pytest.param(7, 4, 4, {}, marks=pytest.mark.long),
        # between two epochs, before the evaluation there
        pytest.param(STEPS_AN_EPOCH, 0, 0, {}, marks=pytest.mark.long),
        # within the supervised epoch
        pytest.param(2, 0, 0, {"thresholds__kind": "fixed"}, marks=pytest.mark.long),
        (STEPS, 0, 0, {}),  # all steps done, not yet evaluated
    ],
)
def test_a_resumed_run_is_the_straight_one_bit_for_bit(
    demo: Path, tmp_path: Path, straight: Any, stop: int, workers: int, then: int, changes: dict[str, Any]
) -> None:
    recipe = tiny(tmp_path, demo, **CHANGES, **changes, data__workers=workers, data__keep_decoded=not workers)
    whole, ids = straight(recipe)
    assert len(ids) == STEPS

    parts: list[list[str]] = []
    stopping = watched(parts, at=stop - 1, act=signal_self(signal.SIGTERM))
    with pytest.raises(Interrupted) as caught:
        trainer_of(recipe, tmp_path / "parts", task=stopping).fit()
    assert caught.value.exit_code == 75
    assert f"step {stop} of {STEPS}" in caught.value.message
    assert len(parts) == stop
    torch.rand(17)  # another process would have another global state
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"workers": then})})
    resumed = trainer_of(recipe, tmp_path / "parts", task=watched(parts), resume=True)
    resumed.fit()

    assert parts == ids
    for one, other in zip(outcome(whole.run), outcome(resumed.run), strict=True):
        same(one, other)
    lines = [json.loads(line) for line in whole.run.metrics_path.read_text().splitlines()]
    assert [(line["step"], "evaluation" in line) for line in lines] == [
        (5, True),
        (10, False),
        (10, True),
        (12, False),
        (12, True),
    ]


@pytest.mark.long
def test_two_runs_are_equal_and_another_seed_is_not(demo: Path, tmp_path: Path) -> None:
    states = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        trainer = trainer_of(tiny(tmp_path, demo, train__max_steps=3, seed=seed), tmp_path / folder)
        trainer.fit()
        states.append(outcome(trainer.run)[0]["state"])
    same(states[0], states[1])
    with pytest.raises(AssertionError):
        same(states[0]["student"], states[2]["student"])


def test_signals_are_put_back_and_ctrl_c_has_its_own_code(demo: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    task = watched([], at=1, act=signal_self(signal.SIGINT))
    with pytest.raises(InterruptedByKeyboard) as caught:
        trainer_of(tiny(tmp_path, demo), tmp_path / "runs", task=task).fit()
    assert caught.value.exit_code == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("every", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_signal_during_an_evaluation_stops_there(demo: Path, tmp_path: Path, straight: Any, every: int) -> None:
    recipe = tiny(tmp_path, demo, train__max_steps=6, train__evaluate_every=every)
    evaluated: list[int] = []

    def evaluate(state: Any, loader: Iterable[EvaluationBatch]) -> Evaluation:
        def counted() -> Iterable[EvaluationBatch]:
            for batch in loader:
                evaluated.append(len(batch.ids))
                os.kill(os.getpid(), signal.SIGTERM)
                yield batch

        return recognition.evaluate(state, counted())

    task = SimpleNamespace(**{**vars(recognition), "evaluate": evaluate})
    with pytest.raises(Interrupted):
        trainer_of(recipe, tmp_path / "parts", task=task).fit()
    assert evaluated == [4]  # of 10 clips in batches of 4
    resumed = trainer_of(recipe, tmp_path / "parts", resume=True)
    resumed.fit()
    for one, other in zip(outcome(straight(recipe)[0].run), outcome(resumed.run), strict=True):
        same(one, other)


def test_what_a_run_leaves_behind(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, train__max_steps=3)
    trainer = trainer_of(recipe, tmp_path / "runs")
    assert trainer.run.folder == tmp_path / "runs" / "tiny" / "full" / "seed0"
    result = trainer.fit()
    files = sorted(
        str(path.relative_to(trainer.run.folder)) for path in trainer.run.folder.rglob("*") if path.is_file()
    )
    assert files == [
        "checkpoints/last.pt",
        "classes.md",
        "confusion.png",
        "curves.png",
        "environment.json",
        "metrics.jsonl",
        "model.safetensors",
        "recipe.yaml",
        "result.json",
        "status.json",
        "student.safetensors",
    ]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny"]
    assert json.loads(trainer.run.result_path.read_text()) == result
    assert {key: result[key] for key in ("task", "recipe", "row", "seed", "steps", "failures")} == {
        "task": "recognition",
        "recipe": "tiny",
        "row": "full",
        "seed": 0,
        "steps": 3,
        "failures": [],
    }
    assert result["data"]["manifest"] == read_manifest(demo).sha256
    assert (result["data"]["labeled"], result["data"]["unlabeled"]) == (10, 20)
    exchanged = {"top1_other_picture", "top1_other_sound"}
    assert set(result["metrics"]) == {"top1", "top5", "top1_student", "top5_student"} | exchanged
    assert 0 <= result["metrics"]["top1"] <= result["metrics"]["top5"] <= 100
    stored = load_recipe(trainer.run.recipe_path)
    assert stored.model_copy(update={"rows": recipe.rows}) == recipe
    assert json.loads((trainer.run.folder / "environment.json").read_text())["torch"] == torch.__version__


def test_a_run_is_neither_repeated_nor_overwritten_unasked(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, train__max_steps=2)
    trainer_of(recipe, tmp_path / "runs").fit()
    with pytest.raises(UsageError, match=r"--resume to go on, --overwrite to redo"):
        trainer_of(recipe, tmp_path / "runs")
    folder = run_of(recipe, tmp_path / "runs").folder
    (folder / "old.txt").touch()
    trainer_of(recipe, tmp_path / "runs", overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["environment.json", "recipe.yaml"]


def test_resuming_with_other_settings_names_both_values(demo: Path, tmp_path: Path) -> None:
    trainer_of(tiny(tmp_path, demo, train__max_steps=2), tmp_path / "runs").fit()
    other = tiny(tmp_path, demo, train__max_steps=3, losses__mixup__weight=0.5)
    with pytest.raises(UsageError) as caught:
        trainer_of(other, tmp_path / "runs", resume=True)
    assert caught.value.exit_code == 2
    assert "train.max_steps: stored 2, now 3" in caught.value.message
    assert "losses.mixup.weight: stored 2.0, now 0.5" in caught.value.message
    assert "epochs" not in caught.value.message


def test_a_folder_that_is_no_run_is_not_touched(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo)
    folder = run_of(recipe, tmp_path / "runs").folder
    folder.mkdir(parents=True)
    (folder / "thesis.txt").touch()
    with pytest.raises(UsageError, match="does not look like a run"):
        trainer_of(recipe, tmp_path / "runs", overwrite=True)
    assert (folder / "thesis.txt").exists()
    (folder / "result.json").write_text("{}")
    with pytest.raises(UsageError, match=r"without its recipe\.yaml"):
        trainer_of(recipe, tmp_path / "runs")


@pytest.mark.parametrize(
    "kind",
    [
        "pickle",
        "cut",
        "other",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("torch", "empty", "text", "list")),
    ],
)
def test_a_checkpoint_that_is_none_is_refused_and_never_run(demo: Path, tmp_path: Path, kind: str) -> None:
    recipe = tiny(tmp_path, demo, train__max_steps=3)
    with pytest.raises(Interrupted):
        trainer_of(recipe, tmp_path / "runs", task=watched([], at=0, act=signal_self(signal.SIGTERM))).fit()
    path = run_of(recipe, tmp_path / "runs").state_path
    good = path.read_bytes()
    harm = tmp_path / "harm"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"step": Harmful(harm)}))
    elif kind == "torch":
        torch.save({"step": Harmful(harm)}, path)
    elif kind == "list":
        torch.save([1], path)
    elif kind == "other":
        save_state(path, {**load_state(path), "state": {"student": {}}})
    else:
        path.write_bytes({"cut": good[: len(good) // 2], "empty": b"", "text": b"hello"}[kind])
    spoilt = path.read_bytes()
    with pytest.raises(DataError, match=r"last\.pt: not a") as caught:
        trainer_of(recipe, tmp_path / "runs", resume=True).fit()
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.message
    assert not harm.exists()
    assert path.read_bytes() == spoilt


@pytest.mark.long
def test_a_broken_clip_is_named_in_the_result_also_after_a_resume(own_demo: Path, tmp_path: Path) -> None:
    manifest = read_manifest(own_demo)
    for row in manifest.of_split("train"):
        if int(row.id.rpartition("_")[2]) % 10 == 0:
            manifest.resolve(row).write_bytes(b"")
    recipe = tiny(tmp_path, own_demo, train__supervised_epochs=0, train__max_steps=10, data__keep_decoded=False)
    straight = trainer_of(recipe, tmp_path / "straight")
    straight.fit()
    failures = outcome(straight.run)[2]["failures"]
    assert failures
    assert all("train_000" in text for text in failures)
    assert straight.console.file.getvalue().count("Replaced by another clip") == len(failures)  # type: ignore[attr-defined]
    with pytest.raises(Interrupted):
        trainer_of(recipe, tmp_path / "parts", task=watched([], at=6, act=signal_self(signal.SIGTERM))).fit()
    resumed = trainer_of(recipe, tmp_path / "parts", resume=True)
    resumed.fit()
    assert outcome(resumed.run)[2] == outcome(straight.run)[2]


def test_the_size_of_a_state_is_that_of_its_tensors() -> None:
    state = {
        "a": torch.zeros(10),
        "b": [torch.zeros(3, dtype=torch.int64), {"c": torch.zeros(2, 2)}],
        "step": 3,
        "d": "x",
    }
    assert state_size(state) == 40 + 24 + 16
