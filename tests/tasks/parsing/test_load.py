"""Video parsing from features to its table: trained, stopped, resumed, judged, asked, exported; what it refuses."""

from __future__ import annotations

import csv
import io
import json
import shutil
import wave as wave_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import asgmcli
from asgmcli.data.features import features_folder
from asgmcli.data.manifest import read_manifest
from asgmcli.data.plan import next_windows
from asgmcli.data.segments import read_segments
from asgmcli.errors import DataError
from asgmcli.media.write import write_clip
from asgmcli.metrics.parsing import summarize
from asgmcli.metrics.parsing_segments import segment_scores
from asgmcli.nn.han import HAN
from asgmcli.nn.parser import Parser
from asgmcli.nn.state import write_safetensors
from asgmcli.prepare import parsing_networks
from asgmcli.recipe.parsing import ParsingRecipe
from asgmcli.recipe.read import load_recipe
from asgmcli.runs.shown import scores_of
from asgmcli.tasks import parsing
from asgmcli.tasks.parsing.data import build_data
from asgmcli.tasks.parsing.evaluate import Answers, _within, decoded, measure
from tests.calling import asgm, stop_at
from tests.parsing_files import CLASSES, DIMS, STORES, write_recipe, write_set


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a recipe and a finished run."""
    folder = tmp_path_factory.mktemp("parsing")
    write_set(folder / "own", long=True)
    recipe = write_recipe(folder, folder / "own")
    asgm("train", recipe, "--runs", folder / "runs", "--device", "cpu")
    return folder


def recipe_of(place: Path, *overrides: str, row: str | None = None) -> ParsingRecipe:
    recipe = load_recipe(place / "tiny_parsing.yaml", row, overrides)
    assert isinstance(recipe, ParsingRecipe)
    return recipe


def test_a_run_learns_and_keeps_its_best_epoch(place: Path) -> None:
    run = place / "runs/tiny_parsing/whole/seed0"
    result = json.loads((run / "result.json").read_text())
    assert result["metrics"]["segment_type"] > 35
    assert result["kept"]["metric"] == "segment_type"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validated = [line["validation"]["segment_type"] for line in lines if "validation" in line]
    assert len(validated) == 10
    assert result["kept"]["value"] == max(validated)
    assert result["kept"]["epoch"] == 9 - validated[::-1].index(max(validated))  # of equal ones the later
    nothing, bag = result["notes"]
    assert nothing.startswith("Nothing predicted: segment")
    assert "The true bag in every second" in bag
    assert {path.name for path in run.iterdir()} >= {"parser.safetensors", "timeline.png", "parsing.md", "classes.md"}


def test_eval_gives_the_runs_numbers_and_says_how_many_clips_there_are(place: Path, tmp_path: Path) -> None:
    run = place / "runs/tiny_parsing/whole/seed0"
    judged = json.loads(asgm("eval", run, "--json", "--out", tmp_path / "a", "--device", "cpu").stdout)
    stored = json.loads((run / "result.json").read_text())["metrics"]
    assert {name: judged["metrics"][name] for name in stored} == pytest.approx(stored)
    beside = judged["metrics"].keys() - stored.keys()
    assert beside == {f"segment_{n}_other_{w}" for n in ("audio", "visual", "type") for w in ("sound", "picture")}
    told = asgm("eval", run, "--out", tmp_path / "b", "--device", "cpu").output
    assert "10 windows: 8 of 9 test clips, 0 of them with our own features" in " ".join(told.split())
    assert "The true bag in every second" in (tmp_path / "b" / "parsing.md").read_text()
    placed = json.loads(
        asgm("eval", run, "--json", "--set", "evaluate.bag=true", "--out", tmp_path / "c", "--device", "cpu").stdout
    )
    assert placed["metrics"]["segment_type"] >= judged["metrics"]["segment_type"]
    with (tmp_path / "a/predictions.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["modality"] for line in lines} == {"audio", "visual"}
    manifest = read_manifest(place / "own")
    for clip in ("test_1", "test_2"):
        told = {
            (float(line["start"]), float(line["end"]), line["label"], line["modality"])
            for line in lines
            if line["id"] == clip and line["kind"] == "true"
        }
        spans = [span for span in read_segments(manifest)[clip] if span.modality != "clip"]
        assert told == {(span.start, span.end, span.label, span.modality) for span in spans}


def test_what_is_used_is_told_by_other_clips_sounds_and_pictures(place: Path) -> None:
    trained = asgmcli.load(place / "runs/tiny_parsing/whole/seed0", device="cpu").trained
    data, network = build_data(recipe_of(place)), trained.network
    evaluation, _ = trained.examine(read_manifest(place / "own")).run(lambda count: None, {})
    places = next_windows([window.row.id for window in data.test.windows])
    whole, truth = data.test.judged(range(len(data.test))), data.test.truth
    inputs = whole.inputs
    with torch.no_grad():
        for what, features in {
            "sound": (inputs.audio[places], inputs.image, inputs.motion),
            "picture": (inputs.audio, inputs.image[places], inputs.motion[places]),
        }.items():
            parsed = network(*features)
            answers = Answers(
                whole.ids, whole.places, parsed.clip.numpy(), parsed.frame.numpy(), truth.bags, truth.events, truth.real
            )
            expected = measure(trained.recipe.evaluate, answers)
            for name in ("segment_audio", "segment_visual", "segment_type"):
                assert evaluation.metrics[f"{name}_other_{what}"] == pytest.approx(expected[name])
        assert evaluation.metrics[f"segment_type_other_{what}"] < evaluation.metrics["segment_type"]
    rows = evaluation.tables["exchange"].rows
    assert [row[0] for row in rows] == ["its own", "another's sound", "another's picture"]
    assert rows[0][1] == evaluation.metrics["segment_audio"]


def test_lines_tell_a_report_which_clips_are_parsed_best(place: Path) -> None:
    trained = asgmcli.load(place / "runs/tiny_parsing/whole/seed0", device="cpu").trained
    manifest = read_manifest(place / "own")
    evaluation, lines = trained.examine(manifest).run(lambda count: None, {})
    scores = scores_of(lines)
    assert set(scores) == {row.id for row in manifest.of_split("test")}
    answers = trained.answers(manifest, "test")
    each = segment_scores(decoded(trained.recipe.evaluate, answers), answers.events)[:, :2].mean(axis=1)
    alone = [number for number, name in enumerate(answers.ids) if answers.ids.count(name) == 1]
    assert all(scores[answers.ids[number]] == pytest.approx(each[number], abs=1e-4) for number in alone)
    assert evaluation.metrics["segment_audio"] > 0


def test_seconds_beyond_a_clip_count_in_no_metric(place: Path) -> None:
    data = build_data(recipe_of(place))
    assert [window.real for window in data.test.windows[:3]] == [10, 10, 3]
    truth = data.test.truth
    assert truth.events is not None
    assert not truth.events[2, :, :, 3:].any()
    full = np.ones((len(data.test), 10, 2, 4), np.float32)
    answers = Answers([""] * 10, [0] * 10, full[:, 0, 0], full, truth.bags, truth.events, truth.real)
    grid = decoded(data.recipe.evaluate, answers)
    assert not grid[2, :, :, 3:].any()
    expected = summarize(segment_scores(grid, truth.events))
    assert measure(data.recipe.evaluate, answers)["segment_type"] == expected["type"]
    # With another clip's sound or picture, none beyond that one's end either.
    seconds = truth.real.copy()
    seconds[0, 5:] = False
    shorter = _within(answers, seconds)
    assert not decoded(data.recipe.evaluate, shorter)[0, :, :, 5:].any()
    assert shorter.events is not None
    assert not shorter.events[0, :, :, 5:].any()
    assert np.array_equal(shorter.events[1:], truth.events[1:])
    # The bags of a long clip's windows are what happens in each.
    assert np.array_equal(truth.bags[:3] > 0, truth.events[:3].any(axis=(1, 3)))


def test_noise_is_one_draw_a_clip_whatever_the_row(place: Path) -> None:
    clear = build_data(recipe_of(place)).train.features[1].float()
    first, second = (
        build_data(recipe_of(place, "features.noise=0.5", row=row)).train.features[1].float()
        for row in ("han", "pooling")
    )
    assert torch.equal(first, second)
    assert 0.45 < float((first - clear).std()) < 0.55
    other = build_data(recipe_of(place, "features.noise=0.5", "seed=1")).train.features[1].float()
    assert not torch.equal(first, other)


@pytest.mark.parametrize("stop", [5, pytest.param(9, marks=pytest.mark.long)])
def test_a_stopped_run_goes_on_to_the_same_weights(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    stop_at(monkeypatch, parsing, stop)
    recipe, runs = place / "tiny_parsing.yaml", ("--runs", tmp_path, "--device", "cpu")
    asgm("train", recipe, *runs, code=75)
    asgm("train", recipe, *runs, "--resume")
    name = "tiny_parsing/whole/seed0"
    one, other = (Path(folder, name) for folder in (place / "runs", tmp_path))
    assert (one / "parser.safetensors").read_bytes() == (other / "parser.safetensors").read_bytes()
    kept = [json.loads((run / "result.json").read_text())["kept"] for run in (one, other)]
    assert kept[0] == kept[1]


@pytest.mark.long
def test_without_times_the_naming_of_bags_chooses_the_epoch(tmp_path: Path) -> None:
    write_set(tmp_path / "own", times=False)
    recipe = write_recipe(tmp_path, tmp_path / "own")
    arguments = ("train", recipe, "--row", "pooling", "--set", "train.epochs=2", "--runs", tmp_path / "runs", "--json")
    result = json.loads(asgm(*arguments, "--device", "cpu").stdout)
    assert list(result["metrics"]) == ["bag_f"]
    assert result["kept"]["metric"] == "bag_f"
    assert result["notes"] == []


@pytest.mark.long
def test_without_a_val_split_the_last_epoch_is_kept(tmp_path: Path) -> None:
    write_set(tmp_path / "own", val=False)
    recipe = write_recipe(tmp_path, tmp_path / "own")
    arguments = ("train", recipe, "--row", "han", "--set", "train.epochs=1", "--runs", tmp_path / "runs", "--json")
    result = json.loads(asgm(*arguments, "--device", "cpu").stdout)
    assert "kept" not in result
    assert any("the last epoch is kept" in note for note in result["notes"])


def test_a_dry_run_counts_the_network(place: Path) -> None:
    (dry,) = json.loads(asgm("train", place / "tiny_parsing.yaml", "--dry-run", "--json").stdout)["runs"]
    assert dry["clips"] == {"clips": 24, "validated": 6, "evaluated": 8}
    assert dry["steps"] == 10 * 3
    assert dry["parameters"]["mod_classifier"] > 0


@pytest.mark.long
def test_export_gives_onnx_the_same_probabilities(place: Path, tmp_path: Path) -> None:
    answer = json.loads(
        asgm("export", place / "runs/tiny_parsing/whole/seed0", "--out", tmp_path / "x.onnx", "--json").stdout
    )
    assert answer["inputs"] == {"audio": ["clips", 10, 6], "image": ["clips", 10, 8], "motion": ["clips", 10, 5]}
    assert (tmp_path / "x.onnx").stat().st_size > 1000


class SmallMaker:
    """Features of widths 6, 8, 5 in place of the released networks'."""

    frames_a_second, short_side, widths = 2, 32, DIMS

    def of_picture(self, frames: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        bright = torch.from_numpy(frames.reshape(10, -1).mean(axis=1, dtype=np.float32) / 255)
        return bright[:, None].expand(10, 8), bright[:, None].expand(10, 5)

    def of_sound(self, wave: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.abs(wave.reshape(10, -1)).mean(axis=1))[:, None].expand(10, 6)


@pytest.mark.pictures
def test_files_of_any_kind_are_parsed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asgmcli.tasks.parsing import ask

    monkeypatch.setattr(ask, "load_networks", lambda files, device: SmallMaker())
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (4 * 13, 32, 48, 3), dtype=np.uint8)
    wave = 0.1 * rng.standard_normal(13 * 16_000).astype(np.float32)
    write_clip(tmp_path / "long.mp4", frames, 4.0, wave)
    write_clip(tmp_path / "silent.mp4", frames[:8], 4.0, None)
    write_clip(tmp_path / "short.mp4", frames[:2], 4.0, wave[:4_000])
    with wave_module.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((32_767 * wave[:48_000]).astype("<i2").tobytes())
    run = place / "runs/tiny_parsing/whole/seed0"
    network = asgmcli.load(run, device="cpu")
    assert network.classes == list(CLASSES)
    spans = network.predict(tmp_path / "long.mp4")
    assert all(0 <= span.start < span.end <= 13 and span.modality in ("audio", "visual") for span in spans)
    assert all(span.modality == "visual" for span in network.predict(tmp_path / "silent.mp4"))
    assert all((span.modality, span.end <= 3) == ("audio", True) for span in network.predict(tmp_path / "sound.wav"))
    assert all((span.start, span.end) == (0, 1) for span in network.predict(tmp_path / "short.mp4"))
    files = [tmp_path / name for name in ("long.mp4", "silent.mp4", "sound.wav", "short.mp4")]
    more = ("--files", tmp_path / "out", "--device", "cpu", "--set", "evaluate.threshold=0.2", "--json")
    shown = asgm("predict", run, *files, *more)
    clips = json.loads(shown.stdout)["clips"]
    assert clips[0]["events"]
    assert "it has no sound: nothing is heard" in clips[1]["notes"]
    assert "it has no picture: nothing is seen" in clips[2]["notes"]
    assert [any("filled up" in note for note in clip["notes"]) for clip in clips] == [True] * 4
    assert all((tmp_path / f"out/{name}_timeline.png").exists() for name in ("sound", "short", "silent"))
    text = (tmp_path / "out/long_segments.csv").read_text()
    assert text.splitlines()[0] == "id,start,end,label,modality,probability"
    assert (tmp_path / "out/long_timeline.png").stat().st_size > 5000
    lines = list(csv.reader(io.StringIO(asgm("predict", run, tmp_path / "long.mp4", "--device", "cpu").stdout)))
    assert lines[0] == ["path", "start", "end", "label", "modality", "probability"]


def test_missing_networks_are_named_with_their_source(place: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(
        parsing_networks.NETWORKS, "resnet152", parsing_networks.Source("resnet152-394f9c45.pth", "URL", fetched=False)
    )
    write_clip(tmp_path / "clip.mp4", np.zeros((8, 32, 32, 3), np.uint8), 4.0, None)
    run = place / "runs/tiny_parsing/whole/seed0"
    told = asgm("predict", run, "clip.mp4", "--device", "cpu", code=3).stderr
    assert "weights of resnet152 are not here" in told
    assert "weights/resnet152-394f9c45.pth" in told
    weight = ("--weights", "resnet152=none.pth")
    assert "none.pth" in asgm("predict", run, "clip.mp4", *weight, "--device", "cpu", code=3).stderr


def test_released_checkpoints_are_answered_for(tmp_path: Path) -> None:
    sizes = {"dim": 16, "classes": 25, "audio_dim": 6, "image_dim": 12, "motion_dim": 8}
    for name, network in (("han", HAN(**sizes)), ("parser", Parser(**sizes, skip=True, adversarial=True))):
        path = write_safetensors(tmp_path / f"{name}.safetensors", network.state_dict(), {})
        assert parsing.owns(path)
        trained = parsing.load(path, None, torch.device("cpu"))
        assert (trained.dims, len(trained.classes), trained.classes[0]) == ((6, 12, 8), 25, "Speech")
        assert "no run is around it" in asgm("eval", path, code=2).stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no such features"),
        (lambda folder: (folder / f"{STORES[0]}.npy").write_bytes(b"x"), "damaged features"),
        (lambda folder: _other_manifest(folder), "made from another manifest"),
    ],
)
def test_features_that_are_not_there_or_of_something_else_are_refused(
    place: Path, tmp_path: Path, spoil: Any, message: str
) -> None:
    shutil.copytree(place / "own", tmp_path / "own")
    spoil(features_folder(tmp_path / "own"))
    write_recipe(tmp_path, tmp_path / "own")
    with pytest.raises(DataError, match=message):
        build_data(recipe_of(tmp_path))


def _other_manifest(folder: Path) -> None:
    path = folder.parent / "manifest.csv"
    path.write_text(path.read_text().replace("train_0,", "train_x,", 1))
    assert read_manifest(path)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("model.skip=true", "model.skip does nothing in row 'han'"),
        ("losses.adversarial.weight=0.4", "losses.adversarial.weight does nothing"),
        ("model.pretrained=features", "needs init"),
        ("model.init={timm: resnet18}", "unknown key"),
    ],
)
def test_keys_that_do_nothing_or_cannot_be_are_refused(place: Path, key: str, message: str) -> None:
    told = asgm("train", place / "tiny_parsing.yaml", "--row", "han", "--set", key, code=2).stderr
    assert message in told
