"""Event localization: every network on its features, the epoch by validation, weak supervision, answers for clips."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

import asgmcli
from asgmcli.cli import main
from asgmcli.data.features import FeatureWriter, Origin
from asgmcli.data.manifest import read_manifest
from asgmcli.data.plan import next_windows
from asgmcli.data.segments import Span, read_segments, segments_csv
from asgmcli.errors import DataError, MediaError, RecipeError
from asgmcli.media.write import write_clip
from asgmcli.recipe.event_localization import EventLocalizationRecipe
from asgmcli.tasks import event_localization as task
from asgmcli.tasks.event_localization.data import build_data
from asgmcli.tasks.event_localization.evaluate import answer_all, exchange
from asgmcli.tasks.event_localization.inputs import over_draws
from asgmcli.tasks.event_localization.model import EventNetwork, build_state
from asgmcli.tasks.event_localization.step import pooled, segment_loss
from asgmcli.train.loop import make_trainer
from asgmcli.train.run import run_of
from asgmcli.train.task import Context
from tests.calling import recipe_in
from tests.prepare.prepare_files import TONE, pictures
from tests.tasks.event_representation import test_task as twins

TEXT = """
name: when
task: event_localization
title: When
default_row: only
rows: {only: {title: only}}
data: {dataset: demo_events, manifest: MANIFEST}
features: {kind: backbones, draws: 2, maps: backbones}
frames: {size: 24, resize_to: 28}
audio: {kind: resnet18, width: 2, stride: 16}
visual: {kind: resnet18, width: 2, stride: 8}
model: {dim: 6, hidden: 4, out: 5, head: [4]}
train: {epochs: 2, batch: 3, optimizer: {kind: adam, lr: 1e-2, schedule: constant}}
"""
CPU = torch.device("cpu")


def recipe_of(folder: Path, data: Path, *overrides: str) -> EventLocalizationRecipe:
    return recipe_in(folder / "when.yaml", TEXT, data, overrides, EventLocalizationRecipe)


def train(recipe: EventLocalizationRecipe, runs: Path) -> dict[str, object]:
    run = run_of(recipe, runs)
    trainer = make_trainer(task, recipe, run, Context(CPU, runs, runs.parent), Console(file=io.StringIO()))
    run.prepare(recipe, resume=False, overwrite=True)
    return dict(trainer.fit())


KINDS = [
    ("model.kind=tacma",),
    ("model.kind=tacma", "model.fuse=cross", "model.theta=0.0", "features.motion=true"),
    ("model.kind=probe", "model.modality=audio"),
    ("model.kind=bilstm", "model.modality=visual"),
    ("model.kind=avel",),
    ("model.kind=avel", "model.modality=visual"),
    ("model.kind=avel", "losses.kind=released", "model.attention=false"),
    ("model.kind=psp", "losses.pair.weight=100.0"),
    ("model.kind=tacma", "supervision=weak"),
    ("model.kind=psp", "supervision=weak", "weak.pool=max"),
]


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(kind, id="+".join(kind), marks=[pytest.mark.long] if number % 3 else [])
        for number, kind in enumerate(KINDS)
    ],
)
def test_every_network_takes_its_steps(tmp_path: Path, own_events: Path, overrides: tuple[str, ...]) -> None:
    recipe = recipe_of(tmp_path, own_events, *overrides)
    data = build_data(recipe)
    state = build_state(recipe, data, Context(CPU, tmp_path))
    before = [p.detach().clone() for p in state.network.parameters()]
    optimizer = torch.optim.SGD(state.network.parameters(), lr=0.1)
    for batch in data.epoch(0):
        state.begin_step(0, 0)
        loss = task.train_step(state, batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert any(not torch.equal(one, p) for one, p in zip(before, state.network.parameters(), strict=True))
    metrics = task.evaluate(state, data.evaluation).metrics
    assert 0 <= metrics["accuracy"] <= 100
    assert metrics["always_background"] + metrics["right_event"] == pytest.approx(100)
    several = [len(data.events.source.segments[row.id]) > 1 for row in data.events.manifest.of_split("test")]
    found = answer_all(state, data.evaluation)
    assert found is not None
    assert sum(several) in range(1, len(several))
    assert metrics["several_accuracy"] == pytest.approx(100 * found.right[several].mean())


class Mixed(torch.nn.Module):
    """Names each second by a drawn mixture of its sound and its picture."""

    def __init__(self, audio: int, visual: int, classes: int) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        self.weights = [torch.randn(width, classes, generator=drawn) for width in (audio, visual)]

    def forward(self, audio: torch.Tensor, visual: torch.Tensor) -> tuple[torch.Tensor, None]:
        spread = ((part - part.mean((0, 1))) / part.std((0, 1)).clamp_min(1e-6) for part in (audio, visual))
        return sum(part @ weight for part, weight in zip(spread, self.weights, strict=True)), None


def test_what_is_used_is_told_by_other_clips_sounds_and_pictures(tmp_path: Path, own_events: Path) -> None:
    recipe = recipe_of(tmp_path, own_events)
    data = build_data(recipe)
    state = build_state(recipe, data, Context(CPU, tmp_path))
    numbers = data.events.of_split("test")
    state.network = cast(EventNetwork, Mixed(*state.inputs.widths, len(data.events.classes)))
    own = answer_all(state, data.batches_of(numbers))
    found = exchange(state, numbers, own)
    ids = [data.events.windows[number].row.id for number in numbers]
    other = torch.from_numpy(numbers[next_windows(ids)])
    labels = torch.from_numpy(data.events.labels[numbers])
    (own_sound, own_picture), (sound, picture) = (state.inputs.of(w, CPU) for w in (torch.from_numpy(numbers), other))
    named = [
        state.network(*pair)[0].argmax(-1)
        for pair in ((own_sound, own_picture), (sound, own_picture), (own_sound, picture))
    ]
    assert not any(torch.equal(one, two) for one, two in combinations(named, 2))
    partners = torch.arange(len(data.events.windows))
    partners[torch.from_numpy(numbers)] = other
    for what, expected in {"sound": named[1], "picture": named[2]}.items():
        judged = answer_all(state, data.batches_of(numbers), {what: partners})
        assert judged is not None
        assert np.array_equal(judged.predicted, expected.numpy())
        assert found.metrics[f"accuracy_other_{what}"] == pytest.approx(
            100 * float((expected == labels).float().mean())
        )
    rows = found.tables["exchange"].rows
    assert [row[0] for row in rows] == ["its own", "another's sound", "another's picture"]
    assert rows[0][1] == task.evaluate(state, data.evaluation).metrics["accuracy"]
    # A network of one sense uses that; a single clip has no other.
    alone = recipe_of(tmp_path, own_events, "model.kind=probe", "model.modality=audio")
    assert exchange(build_state(alone, data, Context(CPU, tmp_path)), numbers, own).metrics == {}
    assert exchange(state, numbers[:1], own).metrics == {}
    # Of a second beyond either clip's end nothing is told.
    data.events.labels[numbers[0], 4:] = -1
    cut = exchange(state, numbers, answer_all(state, data.batches_of(numbers)))
    mask = np.ones_like(data.events.labels[numbers], bool)
    mask[0, 4:] = False
    mask[list(numbers[next_windows(ids)]).index(numbers[0]), 4:] = False
    for name, guess in zip(("sound", "picture"), named[1:], strict=True):
        right = (guess == labels).numpy()[mask].mean()
        assert cut.metrics[f"accuracy_other_{name}"] == pytest.approx(100 * right)


def test_validation_chooses_the_epoch_whatever_the_test_labels_say(tmp_path: Path, own_events: Path) -> None:
    recipe = recipe_of(tmp_path, own_events, "train.epochs=6")
    first = train(recipe, tmp_path / "runs")
    kept = first["kept"]
    assert isinstance(kept, dict)
    assert kept["metric"] == "accuracy"
    manifest = read_manifest(own_events)
    events = read_segments(manifest)
    label = manifest.classes[0]
    turned = {row.id: [Span(0, 5, label), Span(5, 10, manifest.classes[3])] for row in manifest.of_split("test")}
    (own_events / "segments.csv").write_text(segments_csv({**events, **turned}, manifest.rows))
    second = train(recipe, tmp_path / "runs2")
    assert second["kept"] == kept
    assert second["metrics"] != first["metrics"]
    weights = [(tmp_path / runs / "when/only/seed0/events.safetensors").read_bytes() for runs in ("runs", "runs2")]
    assert weights[0] == weights[1]


@pytest.mark.long
def test_without_validation_clips_the_last_epoch_is_kept(tmp_path: Path, own_events: Path) -> None:
    manifest = own_events / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",val,", ",spare,"))
    result = train(recipe_of(tmp_path, own_events), tmp_path / "runs")
    assert any("no split to validate on" in str(note) for note in result["notes"])  # type: ignore[union-attr]


def trained(tmp_path: Path, own_events: Path, *overrides: str) -> Path:
    recipe = recipe_of(tmp_path, own_events, *overrides)
    train(recipe, tmp_path / "runs")
    return run_of(recipe, tmp_path / "runs").folder


def test_a_clip_of_any_length_is_answered(tmp_path: Path, own_events: Path) -> None:
    run = trained(tmp_path, own_events)
    assert {path.name for path in run.glob("*.png")} >= {"confusion.png", "timeline.png"}
    clip = tmp_path / "long.mp4"
    write_clip(clip, pictures(52, height=32, width=32), 4.0, np.tile(TONE, 7)[: 13 * 16000])
    done = CliRunner().invoke(main, ["predict", str(run), str(clip), "--json", "--files", str(tmp_path / "files")])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)["clips"][0]
    spans = asgmcli.load(run).predict(clip)
    assert [span["label"] for span in answer["spans"]] == [span.label for span in spans]
    assert all(isinstance(span, Span) and 0 <= span.start < span.end <= 13 for span in spans)
    assert all(span.label != "background" and 0 < span.probability <= 1 for span in spans)
    names = {path.name for path in (tmp_path / "files").iterdir()}
    assert names >= {"long_timeline.png", "long.vtt"}
    assert (tmp_path / "files" / "long.vtt").read_text().startswith("WEBVTT\n")


@pytest.mark.long
@pytest.mark.parametrize("motion", ["false", "true"])
def test_a_clip_of_the_data_set_is_answered_as_it_was_judged(tmp_path: Path, own_events: Path, motion: str) -> None:
    run = trained(tmp_path, own_events, f"features.motion={motion}")
    done = CliRunner().invoke(main, ["eval", str(run), "--json", "--data", str(own_events)])
    assert done.exit_code == 0, done.output
    result = json.loads((run / "result.json").read_text())
    metrics = json.loads(done.stdout)["metrics"]
    assert {name: metrics[name] for name in result["metrics"]} == pytest.approx(result["metrics"])
    assert metrics.keys() - result["metrics"].keys() == {"accuracy_other_sound", "accuracy_other_picture"}
    lines = next(run.glob("eval-*/predictions.csv")).read_text().splitlines()
    assert lines[0] == "id,second,event,predicted,probability"
    assert len(lines) == 1 + 4 * 10


@pytest.mark.long
def test_features_of_an_encoders_run(tmp_path: Path, own_events: Path) -> None:
    recipe = twins.recipe_of(tmp_path, own_events, *twins.FROZEN)
    twins.train(recipe, tmp_path / "runs")
    run = trained(tmp_path, own_events, "features={kind: encoder, recipe: twins}")
    clip = next((own_events / "clips" / "test").iterdir())
    assert isinstance(asgmcli.load(run).predict(clip), list)
    # Judged on its own data set it reads what the encoder's run stored, and decodes nothing.
    weights = tmp_path / "runs" / "twins" / "only" / "seed0" / "encoder.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    done = CliRunner().invoke(main, ["predict", str(run), str(clip)])
    assert done.exit_code == 3
    assert "the encoder that made this run's features is gone" in " ".join(done.output.split())
    weights.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(DataError, match="has changed since"):
        asgmcli.load(run).predict(clip)


def test_a_clip_without_sound(tmp_path: Path, own_events: Path) -> None:
    run = trained(tmp_path, own_events)
    clip = tmp_path / "silent.mp4"
    write_clip(clip, pictures(8, height=32, width=32), 4.0, None)
    with pytest.raises(MediaError, match="the clip has no sound"):
        asgmcli.load(run).predict(clip)


def released(own_events: Path, seconds: int = 10, manifest: str = "") -> None:
    found = read_manifest(own_events)
    random = np.random.default_rng(0)
    origin = Origin(manifest or found.sha256, "released")
    for name, shape in (("audio_vggish", (seconds, 128)), ("visual_vgg19", (seconds, 7, 7, 512))):
        clips = {row.id: 1 for row in found.rows}
        with FeatureWriter(own_events / "features", name, origin, clips, shape) as writer:
            writer.write((clip, random.random((1, *shape)).astype(np.float16)) for clip in clips)


@pytest.mark.long
def test_released_features(tmp_path: Path, own_events: Path) -> None:
    released(own_events)
    run = trained(tmp_path, own_events, "features.maps=released", "model.kind=avel", "train.epochs=1")
    with pytest.raises(DataError, match="--weights vggish=FILE --weights vgg19=FILE"):
        asgmcli.load(run).predict(next((own_events / "clips" / "test").iterdir()))


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (lambda folder: None, "no such features"),
        (lambda folder: released(folder, seconds=8), "windows of 8 seconds"),
        (lambda folder: released(folder, manifest="another"), "made from another manifest"),
    ],
)
def test_released_features_that_do_not_fit(tmp_path: Path, own_events: Path, made: object, fault: str) -> None:
    made(own_events)  # type: ignore[operator]
    recipe = recipe_of(tmp_path, own_events, "model.kind=avel", "features={}")
    with pytest.raises(DataError, match=fault):
        build_state(recipe, build_data(recipe), Context(CPU, tmp_path))


def test_features_that_are_not_numbers(tmp_path: Path, own_events: Path) -> None:
    recipe = recipe_of(tmp_path, own_events)
    state = build_state(recipe, build_data(recipe), Context(CPU, tmp_path))
    state.inputs.audio.array[2, 3, 1] = np.inf
    with pytest.raises(DataError, match=r"audio_resnet18-\w+\.npy: the features of train_00002 hold NaN or infinity"):
        state.inputs.of(torch.arange(4), CPU)


def test_labelled_clips_and_weak_supervision_read_no_more_than_they_may(tmp_path: Path, demo_events: Path) -> None:
    few = build_data(recipe_of(tmp_path, demo_events, "data.labeled_clips=3"))
    assert len(few.train) == 3
    weak = build_data(recipe_of(tmp_path, demo_events, "supervision=weak"))
    for batch in weak.epoch(0):
        assert bool(batch.labels.eq(-1).all())
        assert bool(batch.category.ge(0).all())
    for batch in few.epoch(0):
        assert bool(batch.category.eq(-1).all())


def test_motion_is_how_a_seconds_features_differ() -> None:
    draws = torch.tensor([[[1.0, 2], [3, 2]], [[0, 0], [4, -4]]])  # two seconds of two draws, two features
    found = over_draws(draws, 1, motion=True)
    assert found.tolist() == [[2, 2, 1, 0], [2, -2, 2, 2]]
    assert torch.equal(over_draws(draws, 1, motion=False), found[:, :2])


def test_segments_beyond_a_clip_count_in_no_loss() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 3), torch.tensor([[0, 1, 2, 2], [1, 0, -1, -1]])
    shown = torch.cat([logits[0], logits[1, :2]])
    expected = torch.nn.functional.cross_entropy(shown, torch.tensor([0, 1, 2, 2, 1, 0]))
    torch.testing.assert_close(segment_loss(logits, labels), expected)
    margin = torch.nn.functional.multilabel_soft_margin_loss(
        shown.softmax(-1), torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 2, 1, 0]), 3).float()
    )
    torch.testing.assert_close(segment_loss(logits, labels, released=True), margin)
    real = labels.ge(0)
    torch.testing.assert_close(pooled(logits, real, "mean")[1], logits[1, :2].mean(0))
    torch.testing.assert_close(pooled(logits, real, "max")[1], logits[1, :2].amax(0))


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (("features={kind: encoder}",), "name a recipe of event_representation"),
        (("features.draws=1", "features.motion=true"), "set features.draws to 2 or more"),
        (("model.kind=bilstm", "model.dim=7"), "an even number"),
        (("model.kind=probe", "model.theta=0.1"), "model.theta does nothing"),
        (("losses.kind=released",), "losses.kind does nothing"),
        (("weak.pool=max",), "weak.pool does nothing"),
        (("features.recipe=twins",), "features.recipe does nothing"),
    ],
)
def test_what_a_recipe_may_not_say(tmp_path: Path, demo_events: Path, overrides: tuple[str, ...], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        recipe_of(tmp_path, demo_events, *overrides)


@pytest.mark.long
@pytest.mark.pictures
def test_pictures_of_finished_runs(tmp_path: Path, own_events: Path) -> None:
    """Figures 5, 7 and 8 are drawn from two runs; nothing is trained."""
    trained(tmp_path, own_events, "train.epochs=1")
    manifest = json.dumps(str(own_events / "manifest.csv"))
    for kind in ("confusion", "timeline", "features"):
        (tmp_path / "shown.yaml").write_text(
            f"""
name: shown
task: event_figures
title: Shown
default_row: only
rows: {{only: {{title: only}}}}
kind: {kind}
data: {{dataset: demo_events, manifest: {manifest}}}
shown: {{recipe: when}}
{"" if kind == "features" else "against: {recipe: when}"}
{"features: {classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}" if kind == "features" else ""}
"""
        )
        command = ["train", str(tmp_path / "shown.yaml"), "--runs", str(tmp_path / "runs"), "--overwrite", "--json"]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        result = json.loads((tmp_path / "runs/shown/only/seed0/result.json").read_text())
        own = json.loads((tmp_path / "runs/when/only/seed0/result.json").read_text())
        assert result["metrics"]["accuracy"] == pytest.approx(own["metrics"]["accuracy"])
        assert (tmp_path / "runs/shown/only/seed0/figure.png").stat().st_size > 10_000


@pytest.mark.long
def test_two_ranks_give_one_process_losses(tmp_path: Path, own_events: Path) -> None:
    """Of both tasks; the last batch of seven labelled clips is shared as one clip and two."""
    (tmp_path / "recipes").mkdir()
    twins.recipe_of(tmp_path / "recipes", own_events)
    recipe_of(tmp_path / "recipes", own_events)
    frozen = [f"--set={text}" for text in (*twins.FROZEN, "train.epochs=3")]
    few = ["--set=data.labeled_clips=7", "--set=train.batch=4", "--set=train.epochs=3"]
    for recipe, options in (("twins", frozen), ("when", few), ("when", [*few, "--set=supervision=weak"])):
        losses, judged = [], []
        for ranks in (1, 2):
            runs = tmp_path / f"runs{ranks}"
            launch = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "--standalone"] if ranks > 1 else []
            words = ["train", f"recipes/{recipe}.yaml", "--runs", str(runs), "--overwrite", "--device", "cpu", *options]
            command = [sys.executable, *launch, "-m", "asgmcli", *words]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            lines = (runs / recipe / "only" / "seed0" / "metrics.jsonl").read_text().splitlines()
            losses.append([line["loss"] for line in map(json.loads, lines) if "loss" in line])
            if recipe == "when":
                run, out = tmp_path / "runs1/when/only/seed0", tmp_path / f"eval{ranks}"
                command = [sys.executable, *launch, "-m", "asgmcli", "eval", str(run), "--out", str(out), "--overwrite"]
                done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
                assert done.returncode == 0, done.stderr
                judged.append(json.loads((out / "result.json").read_text())["metrics"])
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        if judged:
            assert judged[0] == pytest.approx(judged[1])
            assert "accuracy_other_sound" in judged[0]
