"""What the loop is made of: the teacher's average, schedules, the metrics file, sources of weights, the table."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from asgmcli.errors import AsgmError, DataError, InterruptedByKeyboard, NotFiniteError, RecipeError, UsageError
from asgmcli.ranks.device import choose_device
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.read import check_recipe, dump_yaml, load_recipe
from asgmcli.recipe.sections import Guide, Optimizer, Start
from asgmcli.runs import sweep
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.runs.session import Session, matching_runs, other_recipes
from asgmcli.runs.sweep import Job, run_jobs, summarize, write_summary
from asgmcli.train.ema import make_teacher, update_teacher
from asgmcli.train.log import LOG_EVERY, MetricsFile, TrainingProgress, describe
from asgmcli.train.run import run_of
from asgmcli.train.schedule import learning_rate, make_optimizer
from asgmcli.train.seed import step_generator
from asgmcli.train.task import Context
from tests.tiny_training import tiny, write_recipe

CPU = torch.device("cpu")


def quiet() -> Console:
    return Console(file=io.StringIO(), width=300)


# ---- ema.py


class Network(nn.Module):
    count: torch.Tensor
    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mean", torch.tensor([1.0]))
        self.register_buffer("count", torch.tensor(3))


def test_the_teacher_averages_parameters_and_buffers_and_copies_counts() -> None:
    student = Network().train()
    teacher = make_teacher(student)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    start = student.linear.weight.detach().clone()
    for step in range(1, 4):
        with torch.no_grad():
            student.linear.weight += 1
            student.mean += 1
            student.count += 1
        update_teacher(teacher, student, 0.75)
        # By hand: the student is start + 1, + 2, + 3; the average lags behind it.
        lag = sum(0.25 * 0.75 ** (step - k) * k for k in range(1, step + 1))
        torch.testing.assert_close(teacher.linear.weight, start + lag)
        torch.testing.assert_close(teacher.mean, torch.tensor([1 + lag]))
        assert teacher.count == 3 + step
    torch.testing.assert_close(student.linear.weight, start + 3)


# ---- schedule.py


def test_steps_fall_at_their_milestones() -> None:
    settings = Optimizer(lr=1.0, milestones=[0.5, 0.9], gamma=0.1)
    rates = [learning_rate(settings, step, 10) for step in range(10)]
    assert rates == pytest.approx([1] * 5 + [0.1] * 4 + [0.01])


def test_cosine_rises_and_falls_to_nearly_zero() -> None:
    settings = Optimizer(lr=2.0, schedule="cosine", warmup_steps=4)
    rates = [learning_rate(settings, step, 14) for step in range(14)]
    assert rates[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert rates[9] == pytest.approx(1.0)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(1 + math.cos(math.pi * 0.9))
    assert learning_rate(Optimizer(lr=2.0, schedule="constant"), 13, 14) == 2.0


def test_weight_decay_is_on_all_under_sgd_and_on_matrices_under_adamw() -> None:
    network = Network()
    network.linear.bias.requires_grad_(False)
    sgd = make_optimizer([network], Optimizer(weight_decay=0.3))
    assert [(len(group["params"]), group["weight_decay"], group["nesterov"]) for group in sgd.param_groups] == [
        (1, 0.3, True)
    ]
    network.linear.bias.requires_grad_(True)
    adamw = make_optimizer([network], Optimizer(kind="adamw", weight_decay=0.3, momentum=0.8))
    matrices, others = adamw.param_groups
    assert matrices["params"] == [network.linear.weight]
    assert others["params"] == [network.linear.bias]
    assert (matrices["weight_decay"], others["weight_decay"], matrices["betas"]) == (0.3, 0.0, (0.8, 0.999))
    assert not make_optimizer([network], Optimizer(momentum=0.0)).param_groups[0]["nesterov"]


def test_step_generators_are_a_function_of_seed_and_step() -> None:
    draws = [torch.rand(1, generator=step_generator(seed, step)).item() for seed in (0, 1) for step in (0, 1)]
    assert len(set(draws)) == 4
    assert torch.rand(1, generator=step_generator(0, 0)).item() == draws[0]


# ---- log.py


def test_lines_are_means_of_ten_steps_and_of_what_is_left(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(LOG_EVERY + 3):
        metrics.add(step, step // 7, {"loss": float(step), **({"now_and_then": 1.0} if step == 4 else {})})
    metrics.flush(LOG_EVERY + 2, 1)
    metrics.flush(LOG_EVERY + 2, 1)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {"step": 10, "epoch": 1, "loss": 4.5, "now_and_then": 1.0},
        {"step": 13, "epoch": 1, "loss": 11.0},
    ]


def test_what_was_written_after_the_saved_state_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    assert metrics.state_dict()["size"] == 0
    metrics.write({"step": 1})
    metrics.add(3, 0, {"loss": 2.0})
    state = metrics.state_dict()
    metrics.write({"step": 2})
    path.open("a").write('{"half')
    again = MetricsFile(path)
    again.load_state_dict(state)
    again.flush(4, 0)
    assert path.read_text() == '{"step": 1}\n{"step": 5, "epoch": 0, "loss": 2.0}\n'
    path.write_text("")  # shorter than the state says: no zero bytes are made up
    again.load_state_dict(state)
    assert path.read_text() == ""


def test_what_a_run_left_before_its_first_checkpoint_is_dropped(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.restart()
    assert not metrics.path.exists()
    metrics.add(9, 0, {"loss": 1.0})
    metrics.add(10, 0, {"loss": 3.0})
    metrics.restart()
    metrics.add(9, 0, {"loss": 5.0})
    assert [json.loads(line) for line in metrics.path.read_text().splitlines()] == [
        {"step": 10, "epoch": 0, "loss": 5.0}
    ]


def test_lines_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics\.jsonl cannot be written: No such file"):
        MetricsFile(tmp_path / "gone" / "metrics.jsonl").write({"step": 1})


def test_terms_and_clips_a_second_are_shown() -> None:
    assert describe({"loss": 1.23456, "pseudo_share": 0.451, "pseudo_accuracy": 1.0}) == (
        "loss 1.235  pseudo share 45%  pseudo accuracy 100%"
    )
    console = quiet()
    with TrainingProgress(console, "run", steps=2, done=0) as progress:
        progress.step(0, 0, {"loss": 2.0}, 8)
        progress.step(1, 0, {"loss": 1.0}, 8)
    assert progress.clips == 16
    assert progress.rate > 0
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "run: step 2/2  epoch 1  loss 1.000" in text
    assert "1/2" not in text


# ---- Context and Session


def localization(name: str, folder: Path, init: dict[str, str] | None = None) -> LocalizationRecipe:
    values: dict[str, Any] = {"name": name, "task": "localization", "title": name, "default_row": "a"}
    values |= {"rows": {"a": {"title": "a"}}, "data": {"dataset": "demo", "manifest": "gone.csv"}}
    recipe = check_recipe({**values, "model": {"init": init or "none"}}, folder)
    assert isinstance(recipe, LocalizationRecipe)
    (folder / f"{name}.yaml").write_text(dump_yaml(recipe))
    return recipe


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
        ({"dataset": "demo", "options": {"clips": 3}}, r"data\.options: clips: the demo takes train \(int\)"),
        ({"dataset": "demo", "options": {"train": 3.5}}, r"data\.options: train"),
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
    needs = {"model__video__init": {"recipe": "a"}, "model__audio__init": {"recipe": "b"}, "localizer": {"recipe": "c"}}
    recipe = tiny(tmp_path, demo, masks__kind="localization", **needs)
    assert [source.recipe for source in other_recipes(recipe)] == ["a", "b", "c"]
    assert [source.recipe for source in other_recipes(tiny(tmp_path, demo, **needs))] == ["a", "b"]
    assert [source.recipe for source in other_recipes(tiny(tmp_path, demo, "video", **needs))] == ["a"]


def test_devices() -> None:
    assert choose_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert choose_device("auto") == CPU
        with pytest.raises(UsageError, match="sees no CUDA device"):
            choose_device("cuda")


# ---- sweep.py


def result(row: str, seed: int, top1: float) -> dict[str, Any]:
    return {"row": row, "seed": seed, "metrics": {"top1": top1, "top5": 90.0}}


def test_the_table_pairs_rows_by_seed(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo)
    results = [result("full", 0, 60), result("full", 1, 70), result("full", 2, 80)]
    results += [result("video", 2, 77), result("video", 0, 59)]
    table = summarize(recipe, results)
    assert table.columns == ["row", "top1", "top5", "seeds", "gain of full, top1 (95%)"]
    # Differences 1 and 3: mean 2, error 1, t of one degree 12.706.
    assert table.rows == [
        ["sound and picture", "70.0 ± 10.0", "90.0 ± 0.0", 3, None],
        ["picture", "68.0 ± 12.7", "90.0 ± 0.0", 2, "+2.0 [-10.7, +14.7]"],
    ]
    assert table.bold == {0}
    assert summarize(recipe, results[:1] + results[-1:]).rows[1][4] == "+1.0"
    assert summarize(recipe, results[:3]).rows[1] == ["picture", None, None, 0, None]
    write_summary(tmp_path / "out", table, results)
    assert json.loads((tmp_path / "out" / "table.json").read_text())["runs"] == results
    assert "70.0 ± 10.0" in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "table.csv").exists()


def test_runs_of_other_settings_do_not_count(demo: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, demo)
    for row, seed, epochs in (("full", 0, 3), ("full", 1, 2), ("video", 0, 3), ("gone", 0, 3)):
        recipe = load_recipe(path, "full" if row == "gone" else row, (f"train.epochs={epochs}",), seed)
        run = run_of(recipe.model_copy(update={"default_row": row}), tmp_path / "runs")
        run.folder.mkdir(parents=True)
        run.recipe_path.write_text(dump_yaml(recipe))
        run.result_path.write_text(json.dumps(result(row, seed, 50.0)))
    results, left_out = matching_runs(tmp_path / "runs", RecipeFile(path), ())
    assert [(found["row"], found["seed"]) for found in results] == [("full", 0), ("video", 0)]
    assert len(left_out) == 2
    assert "train.epochs: stored 2, now 3" in left_out[0]
    assert "no row 'gone'" in left_out[1]


def jobs(tmp_path: Path, codes: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Jobs that run a line of Python instead of a training."""
    script = tmp_path / "script.py"
    script.write_text("import sys; exec(sys.argv[-1])")
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(sweep, "COMMAND", ["python3", str(script)])
    return [Job(f"row{i} seed {i}", [code], tmp_path / "logs" / f"{i}.log") for i, code in enumerate(codes)]


@pytest.mark.parametrize(("code", "kind"), [(3, DataError), (4, NotFiniteError), (1, AsgmError)])
def test_a_failing_job_stops_no_other_and_gives_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[AsgmError]
) -> None:
    made = jobs(tmp_path, [f"print('why'); sys.exit({code})", "print('fine')", "print('too')"], monkeypatch)
    console = quiet()
    with pytest.raises(kind, match=r"row0 seed 0: why \(log: .*0\.log\)") as caught:
        run_jobs(made, 2, console)
    assert caught.value.exit_code == kind.exit_code
    assert [job.code for job in made] == [code, 0, 0]
    assert made[1].log.read_text() == "fine\n"
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "FAILED" in text
    assert "3/3 row2 seed 2: done" in text


def test_a_running_jobs_news_names_it_once(tmp_path: Path) -> None:
    job = Job("tube seed 3", [], tmp_path / "demo" / "tube" / "seed3.log")
    job.log.parent.mkdir(parents=True)
    for text, expected in (
        ("", "starting"),
        ("Making demo data\n\n", "Making demo data"),
        ("Making demo data\ndemo/tube/seed3: step 87/125  epoch 4  loss 2.2\n", "step 87/125  epoch 4  loss 2.2"),
        ("demo_start/start/seed0: step 1/9  epoch 1\n", "demo_start/start/seed0: step 1/9  epoch 1"),
    ):
        job.log.write_text(text)
        assert sweep._news(job) == expected


def test_ctrl_c_asks_the_running_jobs_to_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(75))); "
    wait += "print('ready', flush=True); time.sleep(60)"
    made = jobs(tmp_path, [wait, wait], monkeypatch)

    def sleep(_: float) -> None:
        if made[0].log.exists() and "ready" in made[0].log.read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(sweep.time, "sleep", sleep)
    with pytest.raises(InterruptedByKeyboard, match="--resume goes on"):
        run_jobs(made, 1, quiet())
    assert made[0].log.read_text() == "ready\nsaved\n"
    assert made[0].code == 75
    assert made[1].process is None
