"""The localization task: pairs without labels, the loss's stages, the map against boxes, resumed runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from asgmcli.data.boxes import FrameBoxes, read_boxes
from asgmcli.data.manifest import read_manifest, write_manifest
from asgmcli.data.reader import Moment
from asgmcli.errors import DataError, Interrupted, RecipeError
from asgmcli.losses.fnac import fnac_losses
from asgmcli.nn.localizer import FNAC, IMAGE_MEAN, IMAGE_STD, load_localizer, save_localizer
from asgmcli.nn.start_localizer import StartLocalizer
from asgmcli.nn.state import write_safetensors
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.tasks import localization
from asgmcli.tasks.localization.data import LocalizationData, build_data, whole_pair
from asgmcli.tasks.localization.evaluate import measure
from asgmcli.tasks.localization.model import LocalizationState, build_state
from asgmcli.tasks.localization.step import mask_spectrogram, train_step
from asgmcli.train.checkpoint import load_state
from asgmcli.train.loop import Trainer, make_trainer
from asgmcli.train.run import run_of
from asgmcli.train.task import Context
from tests.calling import quiet, recipe_in, stop_at
from tests.steady import steady_lines

TEXT = """
name: ears
task: localization
title: Ears
default_row: only
rows: {only: {title: only}}
data: {dataset: demo, manifest: MANIFEST, keep_decoded: true}
model: {dim: 8, width: 4, stride: 8, image_dropout: 0.5}
input: {size: 32, resize: 36, seconds: 0.5, mask_width: 6}
losses: {contrastive_epochs: 1, weight: 10.0}
evaluate: {frames: 2, batch: 4}
train: {epochs: 2, batch: 6, optimizer: {kind: adamw, lr: 1e-3}}
"""
CPU = torch.device("cpu")


def recipe_of(folder: Path, data: Path, *overrides: str) -> LocalizationRecipe:
    return recipe_in(folder / "ears.yaml", TEXT, data, overrides, LocalizationRecipe)


def state_of(recipe: LocalizationRecipe, folder: Path) -> tuple[LocalizationState, LocalizationData]:
    torch.manual_seed(0)
    data = build_data(recipe)
    return build_state(recipe, data, Context(CPU, folder)), data


def test_pairs_are_drawn_from_seed_epoch_and_clip_and_read_no_label(demo: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, demo)
    data = build_data(recipe)
    assert data.steps == 5
    first = list(data.epoch(0))
    assert first[0].pairs.image.shape == (6, 3, 32, 32)
    assert first[0].pairs.image.dtype == torch.uint8
    assert first[0].pairs.wave.shape == (6, 8000)
    assert sorted(name for batch in first for name in batch.ids) == [
        row.id for row in read_manifest(demo).of_split("train")
    ]
    manifest = read_manifest(demo)
    rows = [
        replace(row, label="", path=str(manifest.resolve(row)), audio=str(manifest.resolve(row)))
        for row in manifest.rows
    ]
    write_manifest(tmp_path / "bare", rows, [])
    bare = build_data(recipe_of(tmp_path, tmp_path / "bare"))
    for one, other in zip(first, bare.epoch(0), strict=True):
        assert torch.equal(one.pairs.image, other.pairs.image)
        assert torch.equal(one.pairs.wave, other.pairs.wave)
        assert torch.equal(one.masks, other.masks)
    later = next(data.epoch(1))
    assert not torch.equal(first[0].pairs.image, later.pairs.image)
    shared = build_data(recipe_of(tmp_path, demo, "data.workers=1", "data.keep_decoded=false"))
    assert all(
        torch.equal(one.pairs.image, two.pairs.image) for one, two in zip(first[3:], shared.epoch(0, 3), strict=True)
    )


def test_data_without_sound_is_refused(demo: Path, tmp_path: Path) -> None:
    manifest = read_manifest(demo)
    rows = [replace(row, audio="", path=str(manifest.resolve(row))) for row in manifest.rows]
    write_manifest(tmp_path / "mute", rows, manifest.classes)
    with pytest.raises(DataError, match="no clip with sound"):
        build_data(recipe_of(tmp_path, tmp_path / "mute"))


def test_a_broken_clip_is_counted_once_however_often_it_is_drawn(own_demo: Path, tmp_path: Path) -> None:
    manifest = read_manifest(own_demo)
    gone = manifest.of_split("train")[:2]
    for row in gone:
        manifest.resolve(row).write_bytes(manifest.resolve(row).read_bytes()[:100])
    data = build_data(recipe_of(tmp_path, tmp_path / "demo", "data.max_failures=2", "data.keep_decoded=false"))
    drawn = [name for epoch in range(2) for batch in data.epoch(epoch) for name in batch.ids]
    assert len(drawn) == 60
    assert not {row.id for row in gone} & set(drawn)
    assert sorted(text.split(":")[0] for text in data.failures) == [str(manifest.resolve(row)) for row in gone]
    strict = build_data(recipe_of(tmp_path, tmp_path / "demo", "data.max_failures=1", "data.keep_decoded=false"))
    with pytest.raises(DataError, match=r"more than data\.max_failures \(1\)"):
        list(strict.epoch(0))


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_three_l1_terms_join_after_the_contrastive_epochs(demo: Path, tmp_path: Path, epoch: int) -> None:
    state, data = state_of(recipe_of(tmp_path, demo, "model.image_dropout=0.0", "input.mask_width=0"), tmp_path)
    batch = next(data.epoch(0))
    state.begin_step(epoch, 5 * epoch)
    terms = train_step(state, batch)
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1, 1), torch.tensor(IMAGE_STD).view(3, 1, 1)
    image = (batch.pairs.image / 255 - mean) / std
    features = state.network.features(image, state.frozen.spectrogram(batch.pairs.wave))
    expected = fnac_losses(*features, temperature=0.03, foreground=0.6)
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value.detach()), rel=1e-4)
    extra = sum(float(expected[name].detach()) for name in ("fns_audio", "tns", "fns_image"))
    contrastive = float(expected["contrastive"].detach())
    assert float(terms["loss"].detach()) == pytest.approx(contrastive + epoch * 10 * extra, rel=1e-4)
    terms["loss"].backward()
    for part in ("imgnet", "img_proj", "audnet", "aud_proj"):
        assert any(p.grad is not None and bool(p.grad.any()) for p in getattr(state.network, part).parameters()), part


def test_masks_are_one_band_and_one_span_of_the_drawn_width() -> None:
    generator = torch.Generator().manual_seed(0)
    spectrogram = torch.rand(40, 1, 30, 20, generator=generator) + 1
    draws = torch.rand(40, 4, generator=generator)
    masked = mask_spectrogram(spectrogram, draws, 10)
    for clip, (share, place, long, when) in enumerate(draws.tolist()):
        expected = spectrogram[clip, 0].clone()
        band, first = int(share * 10), int(place * (30 - share * 10))
        span, begin = int(long * 10), int(when * (20 - long * 10))
        expected[first : first + band] = 0
        expected[:, begin : begin + span] = 0
        assert torch.equal(masked[clip, 0], expected)
    assert torch.equal(mask_spectrogram(spectrogram, draws, 0), spectrogram)
    assert mask_spectrogram(spectrogram, torch.full((40, 4), 0.9999), 99).shape == spectrogram.shape


def test_evaluation_looks_at_frames_spread_over_each_clip(demo: Path, tmp_path: Path) -> None:
    data = build_data(recipe_of(tmp_path, demo))
    batches = list(data.evaluation)
    manifest = read_manifest(demo)
    boxes = read_boxes(manifest)
    seen = [(name, int(frame)) for batch in batches for name, frame in zip(batch.ids, batch.frame, strict=True)]
    assert seen == [(row.id, frame) for row in manifest.of_split("test") for frame in (4, 12)]
    found = [box for batch in batches for box in batch.boxes]
    assert all(
        np.array_equal(box.corners, boxes[name][frame].corners) for box, (name, frame) in zip(found, seen, strict=True)
    )


def one_box(*corners: float) -> FrameBoxes:
    return FrameBoxes(np.array([corners]), (0,))


def test_a_map_that_peaks_in_every_box_is_measured_as_such() -> None:
    boxes = [one_box(0.25, 0.5, 0.5, 0.75), one_box(0.0, 0.0, 0.25, 0.25)]
    heatmaps = np.zeros((2, 8, 8), np.float32)
    heatmaps[0, 4:6, 2:4] = 1
    heatmaps[1, :2, :2] = 1
    found = measure(heatmaps, boxes)
    assert found["inside"] == 100
    assert found["chance"] == pytest.approx(100 / 16)
    assert measure(heatmaps[::-1].copy(), boxes)["inside"] == 0
    # The released evaluator compares the hotter half of the map: a box of half the frame can be met exactly.
    half = np.repeat(np.linspace(1, 0, 32, dtype=np.float32), 32).reshape(1, 32, 32)
    assert measure(half, [one_box(0.0, 0.0, 1.0, 0.5)])["ciou50"] == 100
    assert measure(half, [one_box(0.0, 0.5, 1.0, 1.0)])["ciou50"] == 0


def run(recipe: LocalizationRecipe, runs: Path, *, resume: bool = False) -> Trainer:
    folder = run_of(recipe, runs)
    folder.prepare(recipe, resume=resume, overwrite=False)
    trainer = make_trainer(localization, recipe, folder, Context(CPU, runs), quiet())
    trainer.fit()
    return trainer


@pytest.mark.long
@pytest.mark.parametrize(("frozen", "stop", "steps"), [(False, 6, 10), (True, 12, 15)])
def test_a_resumed_run_is_the_straight_one_and_its_weights_guide(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool, stop: int, steps: int
) -> None:
    recipe = frozen_recipe(tmp_path, demo) if frozen else recipe_of(tmp_path, demo)
    straight = run(recipe, tmp_path / "straight")
    stop_at(monkeypatch, localization, stop)
    with pytest.raises(Interrupted, match=f"step {stop} of {steps}"):
        run(recipe, tmp_path / "parts")
    resumed = run(recipe, tmp_path / "parts", resume=True)
    assert steady_lines(straight.run.metrics_path) == steady_lines(resumed.run.metrics_path)
    states = [load_state(trainer.run.state_path)["state"]["network"] for trainer in (straight, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    result = json.loads(straight.run.result_path.read_text())
    assert set(result["metrics"]) == {"inside", "chance", "ciou50", "ciou", "auc"}
    assert result["data"]["pairs"] == 30
    files = {path.name for path in straight.run.folder.iterdir()}
    assert files >= {"localizer.safetensors", "localization.md", "localization.png", "result.json"}
    guide = load_localizer(straight.run.folder / "localizer.safetensors")
    assert (guide.input_size, guide.seconds) == (32, 0.5)
    frames = torch.rand(1, 3, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    wave = torch.rand(1, 8000, generator=torch.Generator().manual_seed(2))
    state: Any = straight.state
    state.network.eval()
    torch.testing.assert_close(guide.maps(frames, wave), state.frozen.maps(frames, wave))


def frozen_recipe(folder: Path, data: Path, *overrides: str) -> LocalizationRecipe:
    start = save_localizer(folder / "start.safetensors", FNAC(8, width=4, stride=8), {})
    frozen = ("model.frozen_trunks=true", f"model.init.file={start}")
    return recipe_of(folder, data, *frozen, "train.epochs=3", *overrides)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.long)])
def test_frozen_trunks_read_each_pair_until_its_features_are_known(
    own_demo: Path, tmp_path: Path, workers: int
) -> None:
    manifest = read_manifest(own_demo)
    broken = manifest.resolve(manifest.of_split("train")[0])
    broken.write_bytes(broken.read_bytes()[:100])
    overrides = ("data.max_failures=1", "data.keep_decoded=false", f"data.workers={workers}")
    state, data = state_of(frozen_recipe(tmp_path, tmp_path / "demo", *overrides), tmp_path)
    seen: dict[tuple[str, int], Any] = {}
    for epoch in range(3):
        state.begin_step(epoch, 0)
        before, read = set(seen), set()
        for batch in data.epoch(epoch):
            cells, sounds = state.trunk_features(batch)
            places = list(zip(batch.ids, batch.frame.tolist(), strict=True))
            read |= {place for place, was in zip(places, batch.read.tolist(), strict=True) if was}
            count = int(batch.read.sum())
            assert (batch.pairs is None) == (count == 0)
            assert batch.pairs is None or len(batch.pairs.image) == len(batch.pairs.wave) == count
            for place, *features in zip(places, cells, sounds, strict=True):
                known = seen.setdefault(place, features)
                assert all(torch.equal(one, other) for one, other in zip(known, features, strict=True))
        assert read == set(seen) - before  # what came in an epoch before was not read again
        assert len(data.failures) == 1  # and the broken clip is named once
    assert before
    assert not any(name == manifest.of_split("train")[0].id for name, _ in seen)
    rows = {row.id: row for row in manifest.rows}
    for (name, frame), (cells, sound) in list(seen.items())[:5]:
        views = whole_pair(data.views.reader, Moment(rows[name], [frame]), state.recipe.input)
        image = (views.image[None].float() / 255 - state.frozen.image_mean) / state.frozen.image_std
        with torch.no_grad():
            expected = state.network.imgnet(image)[0]
            heard = state.network.audnet(state.frozen.spectrogram(views.wave[None]))[0].amax((1, 2))
        torch.testing.assert_close(cells, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(sound, heard, atol=1e-5, rtol=1e-4)


def start_recipe(folder: Path, data: Path, *overrides: str) -> LocalizationRecipe:
    """A localizer on eyes and ears that are random."""
    torch.manual_seed(0)
    video = TimeSformer(8, 1, 2, 1, 0, image_size=32, patch_size=8, drop_path=0.0, convolutions=True)
    audio = AudioTransformer(8, 1, 2, mels=16, length=64, patch_size=16, drop_path=0.0)
    for name, network in (("video", video), ("audio", audio)):
        write_safetensors(folder / f"{name}.safetensors", network.state_dict(), {})
    sizes = "dim: 8, depth: 1, heads: 2"
    eyes = f"{{{sizes}, patch_size: 8, stem: convolutions, init: {{file: {folder / 'video.safetensors'}}}}}"
    ears = f"{{{sizes}, patch_size: 16, init: {{file: {folder / 'audio.safetensors'}}}}}"
    model = f"model={{kind: start, dim: 4, mels: 16, noise: 0.1, video: {eyes}, audio: {ears}}}"
    return recipe_of(folder, data, model, "input={size: 32, resize: 36, seconds: 0.64}", *overrides)


def test_a_localizer_on_a_start_trains_two_maps_alone_and_its_file_guides(demo: Path, tmp_path: Path) -> None:
    trainer = run(start_recipe(tmp_path, demo), tmp_path / "runs")
    result = json.loads(trainer.run.result_path.read_text())
    assert set(result["metrics"]) == {"inside", "chance", "ciou50", "ciou", "auc"}
    guide = load_localizer(trainer.run.folder / "localizer.safetensors", kind="start")
    model = guide.model
    assert isinstance(model, StartLocalizer)
    for name, network in (("video", model.video), ("audio", model.audio)):
        before = load_file(tmp_path / f"{name}.safetensors")
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not torch.equal(model.img_norm.running_mean, torch.zeros(8))  # what is projected is standardised
    # Its ears hear what a recognizer's would: the log-mel by the statistics of the training clips.
    state: Any = trainer.state
    data: Any = trainer.data
    row = data.manifest.of_split("train")[0]
    moment = data.views.reader.moment(row, 0)
    own = data.mel_statistics.normalise(data.views.reader.log_mel(moment))
    heard = guide.spectrogram(data.views.reader.wave(moment, 0.64)[None])[0]
    torch.testing.assert_close(heard, own, atol=2e-3, rtol=1e-3)
    frames = torch.rand(1, 3, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    wave = torch.rand(1, 10_240, generator=torch.Generator().manual_seed(2))
    state.network.eval()
    torch.testing.assert_close(guide.maps(frames, wave), state.frozen.maps(frames, wave))
    assert localization.owns(trainer.run.folder / "localizer.safetensors")
    trained = localization.load(trainer.run.folder / "localizer.safetensors", None, CPU)
    prediction = trained.predict(data.manifest.resolve(row))
    assert prediction.answer.localizer == "start"
    assert 0 <= prediction.rows[0][3] <= 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model={kind: start}", "kind start stands on trained eyes and ears"),
        ("model.video={init: {file: x}}", "video and audio are of kind start: leave them out"),
    ],
)
def test_a_start_without_eyes_and_eyes_without_a_start_are_refused(
    demo: Path, tmp_path: Path, override: str, words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe_of(tmp_path, demo, override)


def test_without_boxes_nothing_is_measured(demo: Path, tmp_path: Path) -> None:
    manifest = read_manifest(demo)
    rows = [replace(row, path=str(manifest.resolve(row)), audio=str(manifest.resolve(row))) for row in manifest.rows]
    write_manifest(tmp_path / "boxless", rows, manifest.classes)
    trainer = run(recipe_of(tmp_path, tmp_path / "boxless", "train.max_steps=1"), tmp_path / "runs")
    assert json.loads(trainer.run.result_path.read_text())["metrics"] == {}
