"""AV-BT's task: frames drawn anew, exact accumulation, frozen backbones, probes, the features a run leaves."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from asgmcli.data.features import open_features
from asgmcli.data.manifest import read_manifest
from asgmcli.errors import DataError, RecipeError, UsageError
from asgmcli.prepare.event_set import event_set
from asgmcli.recipe.event_representation import EventRepresentationRecipe, FrameAugment
from asgmcli.tasks import event_representation as task
from asgmcli.tasks.event_representation.augment import augment
from asgmcli.tasks.event_representation.data import build_data
from asgmcli.tasks.event_representation.model import build_state
from asgmcli.tasks.event_representation.step import train_step
from asgmcli.train.encoder import load_encoder
from asgmcli.train.loop import make_trainer
from asgmcli.train.run import run_of
from asgmcli.train.task import Context
from tests.calling import recipe_in

TEXT = """
name: twins
task: event_representation
title: Twins
default_row: only
rows: {only: {title: only}}
data: {dataset: demo_events, manifest: MANIFEST}
frames: {size: 24, resize_to: 28}
audio: {kind: resnet18, width: 2, stride: 16}
visual: {kind: resnet18, width: 2, stride: 8, reduce: 6}
hidden: 3
projector: {sizes: [8, 8]}
features: {draws: 2}
probe: {epochs: 2, batch: 4, lr: 1e-2, head: [4]}
train: {epochs: 2, batch: 4, optimizer: {kind: adam, lr: 1e-3, schedule: constant}}
"""
CPU = torch.device("cpu")
FROZEN = ("train_backbones=false", "visual.reduce=none")


def recipe_of(folder: Path, data: Path, *overrides: str) -> EventRepresentationRecipe:
    return recipe_in(folder / "twins.yaml", TEXT, data, overrides, EventRepresentationRecipe)


def train(recipe: EventRepresentationRecipe, runs: Path) -> dict[str, object]:
    run = run_of(recipe, runs)
    trainer = make_trainer(task, recipe, run, Context(CPU, runs), Console(file=io.StringIO()))
    run.prepare(recipe, resume=False, overwrite=False)
    return dict(trainer.fit())


def test_a_run_on_frozen_backbones_leaves_an_encoder_and_its_features(tmp_path: Path, own_events: Path) -> None:
    recipe = recipe_of(tmp_path, own_events, *FROZEN)
    result = train(recipe, tmp_path / "runs")
    metrics = result["metrics"]
    assert isinstance(metrics, dict)
    assert list(metrics) == ["accuracy", "audio", "visual", "always_background", "right_event"]
    assert metrics["always_background"] + metrics["right_event"] == pytest.approx(100)
    folder = run_of(recipe, tmp_path / "runs").folder
    manifest = read_manifest(own_events)
    stores = [open_features(folder / "features", name) for name in ("f_audio", "f_visual")]
    assert all(list(store.places) == [row.id for row in manifest.rows] for store in stores)
    # The encoder, asked anew from the files, gives what the run stored.
    encoder = load_encoder(folder / "encoder.safetensors", CPU)
    windows = event_set(manifest, 10).source.of(manifest.rows[2])
    for made, store in zip(encoder.encode(manifest, windows), stores, strict=True):
        np.testing.assert_allclose(made.numpy(), store.of_clip(manifest.rows[2].id), atol=5e-3)


@pytest.mark.long
def test_a_second_run_decodes_nothing(tmp_path: Path, own_events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(recipe_of(tmp_path, own_events, *FROZEN), tmp_path / "runs")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a file was read")

    for name in ("read_clip", "read_audio"):
        monkeypatch.setattr(f"asgmcli.data.windows.{name}", never)
    result = train(recipe_of(tmp_path, own_events, *FROZEN, "hidden=4"), tmp_path / "runs2")
    assert result["steps"] > 0


@pytest.mark.long
def test_an_extraction_that_failed_goes_on(tmp_path: Path, own_events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asgmcli.data import windows

    read, plain = [], windows.read_clip

    def failing(path: Path, *rest: object, **named: object) -> np.ndarray:
        read.append(str(path))
        if len(set(read)) > 5:
            raise KeyboardInterrupt
        return plain(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("asgmcli.prepare.extract.WRITTEN_AT_ONCE", 2)
    monkeypatch.setattr(windows, "read_clip", failing)
    recipe = recipe_of(tmp_path, own_events, *FROZEN)
    with pytest.raises(KeyboardInterrupt):
        build_state(recipe, build_data(recipe), Context(CPU, tmp_path))
    assert not list((own_events / "features").glob("visual_*.npy"))  # no half file
    read.clear()

    def noting(path: Path, *rest: object, **named: object) -> np.ndarray:
        read.append(str(path))
        return plain(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(windows, "read_clip", noting)
    build_state(recipe, build_data(recipe), Context(CPU, tmp_path))
    assert 0 < len(set(read)) <= 15 - 4
    assert len(list((own_events / "features").glob("visual_*.npy"))) == 1


def test_frames_are_drawn_anew_each_epoch_and_alike_each_time(tmp_path: Path, demo_events: Path) -> None:
    data = build_data(recipe_of(tmp_path, demo_events))
    first, again, later = (next(iter(data.epoch(epoch))) for epoch in (0, 0, 1))
    assert torch.equal(first.draws, again.draws)
    assert first.inputs is not None
    assert again.inputs is not None
    assert torch.equal(first.inputs.frames, again.inputs.frames)
    assert first.inputs.frames.shape == (4, 10, 3, 24, 24)
    assert first.inputs.patches.shape == (4, 10, 1, 96, 64)
    assert not torch.equal(first.draws, later.draws)
    assert int(first.draws.max()) > 7
    assert data.steps == 2


@pytest.mark.parametrize("attention", ["none", pytest.param("agva", marks=pytest.mark.long)])
def test_accumulation_is_exact(tmp_path: Path, demo_events: Path, attention: str) -> None:
    gradients = []
    for parts in (1, 2, 4):
        recipe = recipe_of(tmp_path, demo_events, f"attention={attention}", f"train.accumulate={parts}")
        data = build_data(recipe)
        torch.manual_seed(0)
        state = build_state(recipe, data, Context(CPU, tmp_path))
        state.begin_step(0, 0)
        terms = train_step(state, next(iter(data.epoch(0))))
        terms["loss"].backward()
        gradients.append({name: p.grad for name, p in state.network.named_parameters()})
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            assert gradient is not None, name
            torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.long
def test_backbones_train_or_stay(tmp_path: Path, own_events: Path) -> None:
    for overrides, moves in (((), True), (FROZEN, False)):
        recipe = recipe_of(tmp_path, own_events, *overrides)
        state = build_state(recipe, build_data(recipe), Context(CPU, tmp_path))
        body = {name for name, p in state.network.named_parameters() if p.requires_grad and ".body." in name}
        assert bool(body) == moves


@pytest.mark.long
def test_projectors_shared_or_apart(tmp_path: Path, demo_events: Path) -> None:
    shared, apart = (
        build_state(recipe, build_data(recipe), Context(CPU, tmp_path)).network
        for recipe in (
            recipe_of(tmp_path, demo_events),
            recipe_of(tmp_path, demo_events, "projector.shared=false"),
        )
    )
    features = torch.randn(4, 10, 6)
    same = shared.project(features, features)
    assert torch.equal(*same)
    assert not torch.equal(*apart.project(features, features))


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        (("train.accumulate=2", "visual.norm=batch"), "would change the statistics"),
        (("attention=agva", *FROZEN), "frozen backbones do not keep"),
        (("frames.resize_to=20",), "at least frames.size"),
        ((*FROZEN, "augment.flip=true"), "augment.flip does nothing"),
        (("augment.crop=false", "augment.scale=0.5"), "augment.scale does nothing"),
    ],
)
def test_what_a_recipe_may_not_say(tmp_path: Path, demo_events: Path, override: tuple[str, ...], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        recipe_of(tmp_path, demo_events, *override)


def test_too_few_clips_for_a_batch(tmp_path: Path, demo_events: Path) -> None:
    with pytest.raises(DataError, match="8 training windows make no batch of 16"):
        build_data(recipe_of(tmp_path, demo_events, "train.batch=16"))


def test_an_encoder_names_no_events(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="answers nothing by itself"):
        task.load(tmp_path / "encoder.safetensors", None, CPU)


FRAMES = torch.randint(0, 255, (6, 3, 40, 50), dtype=torch.uint8)


def test_augmentations_one_by_one() -> None:
    off = dict.fromkeys(("crop", "flip", "jitter", "gray", "blur", "solarize"), False)
    plain = augment(FRAMES, FrameAugment(**off), 24, np.random.default_rng(0))
    assert plain.shape == (6, 3, 24, 24)
    for name in off:
        changed = augment(FRAMES, FrameAugment(**{**off, name: True}), 24, np.random.default_rng(1))
        assert changed.shape == plain.shape
        assert changed.dtype == torch.uint8
        assert not torch.equal(changed, plain), name
    gray = augment(FRAMES.repeat(10, 1, 1, 1), FrameAugment(**{**off, "gray": True}), 24, np.random.default_rng(1))
    colourless = (gray[:, 0] == gray[:, 1]).flatten(1).all(1)
    assert 2 <= int(colourless.sum()) <= 30  # one in five


def test_a_draw_a_frame_or_a_clip() -> None:
    same = FRAMES[:1].expand(6, -1, -1, -1)
    settings = FrameAugment(crop=True, blur=False)
    each = augment(same, settings, 24, np.random.default_rng(0))
    whole = augment(same, settings.model_copy(update={"draw": "clip"}), 24, np.random.default_rng(0))
    assert not torch.equal(each[0], each[1])
    assert all(torch.equal(whole[0], frame) for frame in whole)
    state = torch.get_rng_state()
    augment(same, settings, 24, np.random.default_rng(0))
    assert torch.equal(torch.get_rng_state(), state)  # the training step's draws stay its own
