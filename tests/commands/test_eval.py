from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from asgmcli.commands.eval import command
from asgmcli.data.manifest import read_manifest


@pytest.fixture
def run(house: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(house)
    return lambda *arguments: CliRunner().invoke(command, [str(argument) for argument in arguments])


def copy_of_run(house: Path, to: Path, recipe: str = "tiny", row: str = "both") -> Path:
    shutil.copytree(house / "runs" / recipe / row / "seed0", to / recipe / row / "seed0")
    return to / recipe / row / "seed0"


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def said(result: Result) -> str:
    return " ".join(result.stderr.split())


@pytest.mark.pictures
def test_a_run_is_judged_as_at_the_end_of_its_training(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    folder = copy_of_run(house, tmp_path)
    with (folder / "metrics.jsonl").open("a") as file:  # two steps are too few for a line
        file.writelines(json.dumps({"step": step, "epoch": 0, "loss": 10 / step}) + "\n" for step in (10, 20))
    result = run(folder, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    trained = read(folder / "result.json")
    assert answer["metrics"] == trained["metrics"]
    assert answer["data"]["manifest"] == trained["data"]["manifest"]
    assert answer["views"] == {"clips": 2, "crops": 3}
    out = folder / "eval-test"
    names = ["classes.md", "confusion.png", "curves.png", "predictions.csv", "result.json", "status.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert sorted(Path(path).name for path in answer["outputs"]) == names[:-1]
    assert read(out / "result.json")["metrics"] == trained["metrics"]
    assert (out / "classes.md").read_text() == (folder / "classes.md").read_text()
    for name in ("confusion.png", "curves.png"):
        with Image.open(out / name) as picture:
            assert picture.width > 500
    assert "78.6" in result.stderr  # the paper's number stands beside

    lines = list(csv.DictReader((out / "predictions.csv").open()))
    rows = read_manifest(house / "data" / "demo").of_split("test")
    assert [(line["id"], line["label"]) for line in lines] == [(row.id, row.label) for row in rows]
    right = sum(line["label"] == line["predicted"] for line in lines)
    assert 100 * right / len(lines) == pytest.approx(answer["metrics"]["top1"])
    assert all(0.1 <= float(line["confidence"]) <= 1 for line in lines)

    again = run(folder)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


@pytest.mark.long
def test_other_views_and_another_split_have_answers_of_their_own(
    run: Callable[..., Result], house: Path, tmp_path: Path
) -> None:
    folder = copy_of_run(house, tmp_path)
    out = folder / "eval-test"
    assert "78.6" not in run(folder, "--split", "val").stderr
    other = run(folder, "--clips", 1, "--crops", 1, "--batch", 3, "--overwrite", "--json")
    assert other.exit_code == 0, other.output
    assert json.loads(other.stdout)["views"] == read(out / "result.json")["views"] == {"clips": 1, "crops": 1}


def test_curves_show_the_losses_and_several_evaluations(house: Path, tmp_path: Path) -> None:
    from asgmcli.errors import DataError
    from asgmcli.train.log import read_metrics
    from asgmcli.train.run import Run

    run = Run(copy_of_run(house, tmp_path))
    (steps,) = read_metrics(run.metrics_path)  # one evaluation is a number, not a curve
    assert steps["step"] == 2
    with run.metrics_path.open("a") as file:
        file.write('{"step": 10, "loss": 2.5}\n{"step": 10, "evaluation": {"top1": 30.0}}\n')
    lines = read_metrics(run.metrics_path)
    assert lines[1] == {"step": 10, "loss": 2.5}
    assert [line["step"] for line in lines] == [2, 10, 2, 10]
    assert lines[3]["top1, evaluated"] == 30.0
    with run.metrics_path.open("a") as file:
        file.write("{half")
    with pytest.raises(DataError, match=r"metrics.jsonl:5: not a JSON object"):
        read_metrics(run.metrics_path)


def test_confidences_are_those_of_the_trained_teacher(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    import torch

    from asgmcli.recipe.recognition import RecognitionRecipe
    from asgmcli.tasks.recognition.data import build_data
    from asgmcli.tasks.recognition.evaluate import predict
    from asgmcli.tasks.recognition.model import build_state
    from asgmcli.train.checkpoint import load_state
    from asgmcli.train.run import Run
    from asgmcli.train.task import Context

    trained = Run(house / "runs" / "tiny" / "both" / "seed0")
    assert run(trained.folder, "--out", tmp_path / "out").exit_code == 0
    recipe = trained.recipe()
    assert isinstance(recipe, RecognitionRecipe)
    data = build_data(recipe)
    state = build_state(recipe, data, Context(torch.device("cpu"), house / "runs"))
    state.load_state_dict(load_state(trained.state_path)["state"])
    scores = predict([state.teacher], data.evaluation, torch.device("cpu"))[0]
    lines = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open()))
    assert [float(line["confidence"]) for line in lines] == pytest.approx(scores.amax(1).tolist(), abs=1e-6)
    assert [line["predicted"] for line in lines] == [data.classes[index] for index in scores.argmax(1)]


def test_the_weight_file_is_enough(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    weights = shutil.copy(house / "runs/tiny/both/seed0/model.safetensors", tmp_path / "mine.safetensors")
    result = run(weights, "--split", "val", "--json", "--workers", 1)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["data"]["split"] == "val"
    assert not (tmp_path / "eval-val" / "curves.png").exists()

    # Another manifest: the same clips elsewhere, the classes in another order, and one of them without sound.
    manifest = read_manifest(house / "data" / "demo")
    other = tmp_path / "other"
    other.mkdir()
    text = manifest.path.read_text().replace("clips/", f"{manifest.folder}/clips/")
    first = next(line for line in text.splitlines() if line.startswith("val_"))
    cells = first.split(",")
    cells[9] = ""
    (other / "manifest.csv").write_text(text.replace(first, ",".join(cells)))
    (other / "classes.txt").write_text("".join(f"{name}\n" for name in reversed(manifest.classes)))
    second = run(weights, "--split", "val", "--data", other, "--json")
    assert second.exit_code == 0, second.output
    assert "1 of 10 clips have no sound" in said(second)
    tables = [read(tmp_path / name / "result.json")["tables"] for name in ("eval-val", "eval-other-val")]
    assert [line[:2] for line in tables[0]["classes"]["rows"]] == [line[:2] for line in tables[1]["classes"]["rows"]]
    pairs = [list(csv.DictReader((tmp_path / n / "predictions.csv").open())) for n in ("eval-val", "eval-other-val")]
    silent = cells[0]
    for one, two in zip(*pairs, strict=True):
        if one["id"] != silent:
            assert one == two


def test_a_recognizer_in_python(house: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    from asgmcli import load
    from asgmcli.errors import DataError, MediaError

    folder = house / "runs" / "tiny" / "both" / "seed0"
    assert run(folder, "--out", tmp_path / "out").exit_code == 0
    line = next(csv.DictReader((tmp_path / "out" / "predictions.csv").open()))
    recognizer = load(folder)
    manifest = read_manifest(house / "data" / "demo")
    assert recognizer.classes == manifest.classes
    answer = recognizer.predict(manifest.folder / "clips" / "test" / f"{line['id']}.mp4")
    assert answer[0] == (line["predicted"], pytest.approx(float(line["confidence"]), abs=2e-6))
    assert sorted(name for name, _ in answer) == sorted(manifest.classes)
    assert sum(share for _, share in answer) == pytest.approx(1, abs=1e-5)
    assert [share for _, share in answer] == sorted((share for _, share in answer), reverse=True)
    with pytest.raises(MediaError, match="no such file"):
        recognizer.predict("gone.mp4")
    with pytest.raises(DataError, match="no such run"):
        load(house / "runs" / "tiny" / "both" / "seed7")
    localizer = load(house / "runs" / "tiny_localizer" / "fnac" / "seed0")
    assert localizer.classes == []
    found = localizer.predict(manifest.folder / "clips" / "test" / f"{line['id']}.mp4")
    assert found.maps.shape[0] == len(found.times) > 2


def test_a_localizer_is_judged_beside_motion(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    folder = copy_of_run(house, tmp_path, "tiny_localizer", "fnac")
    result = run(folder, "--localizer", "motion", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    trained = read(folder / "result.json")["metrics"]
    assert {name: answer["metrics"][name] for name in trained} == trained
    assert answer["metrics"]["motion_chance"] == trained["chance"]
    assert answer["metrics"]["motion_inside"] > trained["chance"]
    table = answer["tables"]["localization"]
    assert table["columns"] == ["measure, percent", "FNAC", "motion"]
    out = folder / "eval-val"
    assert {"localization.png", "localization.md", "predictions.csv", "result.json"} <= {p.name for p in out.iterdir()}
    lines = list(csv.DictReader((out / "predictions.csv").open()))
    assert len(lines) == 20
    assert 100 * sum(float(line["inside"]) for line in lines) / 20 == pytest.approx(trained["inside"])
    assert 100 * sum(float(line["ciou"]) for line in lines) / 20 == pytest.approx(trained["ciou"])


def test_a_localizer_file_needs_to_be_told_the_clips(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    weights = shutil.copy(house / "runs/tiny_localizer/fnac/seed0/localizer.safetensors", tmp_path / "mine.safetensors")
    assert run(weights).exit_code == 2
    assert "--data MANIFEST" in run(weights).stderr
    result = run(weights, "--data", house / "data" / "demo", "--split", "val", "--json")
    assert result.exit_code == 0, result.output
    assert len(list(csv.DictReader((tmp_path / "eval-demo-val" / "predictions.csv").open()))) == 10
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(house / "data" / "demo" / "manifest.csv", bare)
    refused = run(weights, "--data", bare)
    assert refused.exit_code == 3
    assert "no boxes.csv" in refused.stderr


def finished(
    house: Path, runs: Path, row: str, seed: int, top1: float, overrides: tuple[str, ...] = (), **more: Any
) -> Path:
    """The folder of a pretended run of tiny.yaml."""
    from asgmcli.recipe.read import dump_yaml, load_recipe

    folder = runs / "tiny" / row / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_yaml(load_recipe(house / "tiny.yaml", row, overrides, seed)))
    result = {"task": "recognition", "recipe": "tiny", "row": row, "seed": seed, "data": {"manifest": "a"}, **more}
    (folder / "result.json").write_text(json.dumps({**result, "metrics": {"top1": top1, "top5": 100.0}}))
    return folder


def test_a_recipe_gathers_its_runs(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    nothing = run(house / "tiny.yaml", "--runs", runs)
    assert nothing.exit_code == 3
    assert "no finished run" in said(nothing)
    for seed, top1 in enumerate((70.0, 74.0, 78.0)):
        finished(house, runs, "both", seed, top1)
    alone = json.loads(run(house / "tiny.yaml", "--runs", runs, "--json").stdout)
    assert alone["missing"] == {"video": []}
    finished(house, runs, "video", 1, 44.0)
    begun = runs / "tiny" / "video" / "seed2"
    begun.mkdir()
    (begun / "recipe.yaml").write_text("name: tiny\n")
    result = run(house / "tiny.yaml", "--runs", runs, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    rows = {line[0]: line for line in answer["rows"]}
    assert rows["picture and sound"][1] == "74.0 ± 4.0"
    assert rows["picture and sound"][-1] == 78.6
    assert "+30.0" in rows["picture alone"]
    assert answer["missing"] == {"video": [0, 2]}
    assert answer["unfinished"] == [str(begun)]
    assert "Missing: video: seeds 0, 2" in said(result)
    assert f"asgm train {house / 'tiny.yaml'} --row all --seeds 3 --runs {runs}" in said(result)
    assert {path.name for path in (runs / "tiny").iterdir() if path.is_file()} == {
        "comparison.png",
        "table.csv",
        "table.json",
        "table.md",
    }
    assert len(read(runs / "tiny" / "table.json")["runs"]) == 4
    assert run(house / "tiny.yaml", "--runs", runs, "--out", tmp_path / "there").exit_code == 0
    assert run(house / "tiny.yaml", "--runs", runs, "--out", tmp_path / "there").exit_code == 2
    assert run(house / "tiny.yaml", "--runs", runs, "--clips", 2).exit_code == 2
    localizers = run(house / "tiny_localizer.yaml", "--json")
    assert json.loads(localizers.stdout)["columns"][:3] == ["row", "inside", "chance"]


def test_what_is_missing_is_trained_from_the_first_seed_there_is(
    run: Callable[..., Result], house: Path, tmp_path: Path
) -> None:
    for seed in (611, 613):
        finished(house, tmp_path, "both", seed, 70.0)
    found = said(run(house / "tiny.yaml", "--runs", tmp_path))
    assert f"asgm train {house / 'tiny.yaml'} --row all --seed 611 --seeds 3 --runs {tmp_path}" in found


def test_runs_of_other_settings_stand_below_the_table_in_every_form(
    run: Callable[..., Result], house: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    finished(house, runs, "both", 0, 70.0)
    before = json.loads(run(house / "tiny.yaml", "--runs", runs, "--json").stdout)
    assert (before["notes"], before["left_out"]) == (["Missing: video: no finished run"], [])
    folder = finished(house, runs, "both", 1, 33.3, ("train.batch=1", "train.optimizer.milestones=[0.5, 0.75]"))
    result = run(house / "tiny.yaml", "--runs", runs, "--json")
    answer = json.loads(result.stdout)
    assert [found["seed"] for found in answer["runs"]] == [0]
    assert answer["rows"][0] == ["picture and sound", "70.0", "100.0", 1, None, 78.6]
    (other,) = answer["left_out"]
    assert (other["run"], other["row"], other["seed"]) == (str(folder), "both", 1)
    assert other["differs"][0] == "train.batch: stored 1, now 2"
    line = f"Not in the table, made with other settings: {folder}: {'; '.join(other['differs'])}"
    assert line in answer["notes"]
    assert line in result.stderr.splitlines()  # whole, however long
    assert f"- {line}" in (runs / "tiny" / "table.md").read_text().splitlines()
    assert read(runs / "tiny" / "table.json")["left_out"] == answer["left_out"]
    with (runs / "tiny" / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert (lines[0]["row"], lines[0]["top1"], lines[0]["paper"]) == ("picture and sound", "70.0", "78.6")
    assert all(None not in each and None not in each.values() for each in lines)  # as many fields as columns
    assert [each["row"] for each in lines if each["row"].startswith("# ")][-1] == f"# {line}"


def test_where_only_runs_of_other_settings_are_finished_the_paper_stands_alone(
    run: Callable[..., Result], house: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    folder = finished(house, runs, "both", 0, 33.3, ("train.batch=1",))
    result = run(house / "tiny.yaml", "--runs", runs, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["columns"] == ["row", "top1", "seeds", "gain of both, top1 (95%)", "paper"]
    assert answer["rows"] == [["picture and sound", None, 0, None, 78.6], ["picture alone", None, 0, None, None]]
    assert [each["run"] for each in answer["left_out"]] == [str(folder)]
    assert answer["missing"] == {"both": [], "video": []}
    assert [Path(path).name for path in answer["outputs"]] == ["table.md", "table.csv", "table.json"]
    assert "33.3" not in (runs / "tiny" / "table.csv").read_text()


def test_a_run_of_other_settings_is_not_judged_beside_the_paper(house: Path) -> None:
    from asgmcli.recipe.read import load_recipe

    path = house / "tiny.yaml"
    assert load_recipe(path).rows["both"].paper == {"top1": 78.6}
    for same in ((), ("train.batch=2",), ("data.workers=3",), ("seed=4",), ("log.wandb=true",)):
        assert load_recipe(path, None, same).rows["both"].paper == {"top1": 78.6}, same
    assert load_recipe(path, None, ("train.batch=3",)).rows["both"].paper == {}
    assert load_recipe(path, "video", ("model.modality=video",)).rows["both"].paper == {"top1": 78.6}


def test_warnings_of_a_training_stand_beside_its_run(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    text = "No pseudo-label passed the threshold in 9 of 9 steps"
    finished(house, tmp_path, "both", 0, 70.0, warnings=[text])
    answer = run(house / "tiny.yaml", "--runs", tmp_path, "--json")
    line = f"Warning: both seed 0: {text}"
    assert line in json.loads(answer.stdout)["notes"]
    assert line in answer.stderr
    for name in ("table.md", "table.csv", "table.json"):
        assert line in (tmp_path / "tiny" / name).read_text()
    folder = copy_of_run(house, tmp_path / "copy")
    result = read(folder / "result.json")
    (folder / "result.json").write_text(json.dumps({**result, "warnings": [text]}))
    evaluated = run(folder, "--out", tmp_path / "out", "--json")
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads(evaluated.stdout)["warnings"] == [text]
    assert read(tmp_path / "out" / "result.json")["warnings"] == [text]
    assert f"Warning, of its training: {text}" in evaluated.stderr


def test_what_is_no_finished_run(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    stopped = copy_of_run(house, tmp_path)
    (stopped / "result.json").unlink()
    gone = copy_of_run(house, tmp_path / "gone")
    (gone / "model.safetensors").unlink()
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "half.safetensors", metadata={"format": "asgm-recognition"})
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((house / "runs/tiny/both/seed0/model.safetensors").read_bytes()[:-100])
    (tmp_path / "text.txt").write_text("no weights")
    cases = [
        (house / "runs" / "tiny" / "both" / "seed1", 3, "did you mean"),
        (house / "runs" / "tiny", 3, "not a run, there is no recipe.yaml"),
        (stopped, 3, "not finished"),
        (gone, 3, "weights are gone"),
        (stopped / "checkpoints" / "last.pt", 3, "Name its run"),
        (tmp_path / "foreign.safetensors", 3, "no network that asgm knows"),
        (tmp_path / "half.safetensors", 3, "description of the network is unusable"),
        (cut, 3, "cut.safetensors"),
        (tmp_path / "text.txt", 3, "text.txt"),
        (house / "tyni.yaml", 2, "tiny.yaml'"),
    ]
    for target, code, words in cases:
        result = run(target, "--out", tmp_path / "out")
        assert result.exit_code == code, (target, result.output, result.exception)
        assert words in said(result), said(result)
        assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_clips_that_cannot_be_judged(run: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    folder = house / "runs" / "tiny" / "both" / "seed0"
    source = house / "data" / "demo" / "manifest.csv"
    text = source.read_text().replace("clips/", f"{source.parent}/clips/")
    labels = read_manifest(source).classes
    lines = text.splitlines()
    unlabelled = [",".join([*cells[:2], "", *cells[3:]]) for cells in (line.split(",") for line in lines[1:])]
    (tmp_path / "broken.mp4").write_text("no video")
    row = next(line for line in lines if line.startswith("test_"))
    path = row.split(",")[1]
    manifests = {
        "unlabelled": "\n".join([lines[0], *unlabelled]),
        "foreign": text.replace(labels[0], "yodel"),
        "missing": text.replace(row, row.replace(path, "nowhere.mp4")),
        "broken": text.replace(row, row.replace(path, str(tmp_path / "broken.mp4"))),
    }
    cases = [
        ("unlabelled", (), 3, "no label at all"),
        ("foreign", (), 3, "1 of its classes are unknown to the model (yodel)"),
        ("missing", (), 3, "nowhere.mp4"),
        ("broken", ("--workers", 0), 3, "broken.mp4"),
        ("broken", ("--workers", 1), 3, "broken.mp4"),
        ("broken", ("--localizer", "motion"), 2, "is a recognizer"),
    ]
    for name, options, code, words in cases:
        data = tmp_path / name
        data.mkdir(exist_ok=True)
        (data / "manifest.csv").write_text(manifests[name])
        result = run(folder, "--data", data, "--out", tmp_path / "out", *options)
        assert result.exit_code == code, (name, result.output, result.exception)
        assert words in said(result), said(result)
        assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()
    into = run(folder, "--out", folder, "--overwrite")
    assert into.exit_code == 2
    assert "its own result is kept" in said(into)
    elsewhere = run(folder, "--data", tmp_path / "nowhere")
    assert elsewhere.exit_code == 3
    assert "No manifest" in said(elsewhere)
