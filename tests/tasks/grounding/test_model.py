"""Grounding from features to tokens: it learns, keeps its best epoch, resumes, and parsers start from it both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asgmcli.data.snippets import grounding_truth
from asgmcli.errors import DataError
from asgmcli.losses.grounding import grounding_loss
from asgmcli.nn.grounding import GroundingTransformer
from asgmcli.recipe.grounding import GroundingRecipe
from asgmcli.recipe.read import load_recipe
from asgmcli.tasks import grounding
from asgmcli.tasks.grounding import truth
from asgmcli.tasks.grounding.data import build_data
from asgmcli.tasks.grounding.model import build_state, kind_of, train_step
from asgmcli.train.task import Context
from tests.calling import asgm, stop_at
from tests.parsing_files import DIMS, write_recipe, write_set

RECIPE = """
name: tiny_grounding
task: grounding
title: Tiny
default_row: multi
rows: {multi: {title: all pairs}}
data: {dataset: own, manifest: MANIFEST}
truth: {sound: 0.8, picture: 0.8, silence: none}
model: {transformer: {dim: 16, depth: 1, heads: 2, hidden: 16}}
train: {epochs: 8, batch: 6, optimizer: {kind: adam, lr: 3e-3, weight_decay: 0.0, schedule: constant}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grounding")
    write_set(folder / "own")
    (folder / "tiny_grounding.yaml").write_text(
        RECIPE.replace("MANIFEST", json.dumps(str(folder / "own" / "manifest.csv")))
    )
    write_recipe(folder, folder / "own")
    asgm("train", folder / "tiny_grounding.yaml", "--runs", folder / "runs", "--device", "cpu")
    return folder


def recipe_of(place: Path, *overrides: str) -> GroundingRecipe:
    recipe = load_recipe(place / "tiny_grounding.yaml", None, overrides)
    assert isinstance(recipe, GroundingRecipe)
    return recipe


def test_the_lowest_validated_loss_is_kept(place: Path) -> None:
    run = place / "runs/tiny_grounding/multi/seed0"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["validation"]["loss"] for line in lines if "validation" in line]
    result = json.loads((run / "result.json").read_text())
    assert len(losses) == 8
    assert result["metrics"]["loss"] == result["kept"]["value"] == min(losses) < losses[0]
    assert abs(result["metrics"]["uni"] + result["metrics"]["cross"] - result["metrics"]["loss"]) < 1e-6
    assert result["data"]["train"] + result["data"]["val"] == 24


def test_the_truth_of_each_window_is_that_of_its_features(place: Path) -> None:
    data = build_data(recipe_of(place))
    for number in range(3):
        audio, image = data.train.audio[number], data.train.image[number]
        expected = grounding_truth(audio, image, None, "both", 0.8, 0.8)
        assert torch.equal(data.train.truth[number], expected)
    assert 0.1 < data.train.truth.float().mean() < 0.9
    either = build_data(recipe_of(place, "truth.rule=either"))
    assert either.train.truth.float().mean() > data.train.truth.float().mean()
    assert not set(data.train.ids) & set(data.val.ids)


def test_truth_is_made_once_a_data_set(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build_data(recipe_of(place, "truth.sound=0.7"))
    asked: list[int] = []

    def counted(*args: Any) -> torch.Tensor:
        asked.append(1)
        if len(asked) == 7:
            raise KeyboardInterrupt
        return grounding_truth(*args)

    monkeypatch.setattr(truth, "grounding_truth", counted)
    kept = build_data(recipe_of(place, "truth.sound=0.7", "seed=3", "data.val_share=0.5"))
    assert not asked
    halves = [half for data in (made, kept) for half in (data.train, data.val)]
    found = [dict(zip(half.ids, half.truth, strict=True)) for half in halves]
    one, other = found[0] | found[1], found[2] | found[3]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    monkeypatch.setattr(truth, "AT_ONCE", 2)
    with pytest.raises(KeyboardInterrupt):
        build_data(recipe_of(place, "truth.sound=0.6"))
    build_data(recipe_of(place, "truth.sound=0.6"))
    assert len(asked) == 7 + 24 - 6


def test_uni_and_cross_take_turns_where_asked(place: Path) -> None:
    recipe = recipe_of(place, "losses.grounding.multi=alternate")
    assert [kind_of(recipe, epoch) for epoch in range(3)] == ["uni", "cross", "uni"]
    assert kind_of(recipe_of(place), 1) == "multi"


def test_a_stopped_run_goes_on_to_the_same_weights(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, grounding, 13)
    recipe, runs = place / "tiny_grounding.yaml", ("--runs", tmp_path, "--device", "cpu")
    asgm("train", recipe, *runs, code=75)
    asgm("train", recipe, *runs, "--resume")
    name = "tiny_grounding/multi/seed0/grounding.safetensors"
    assert (place / "runs" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_one_anchor_is_drawn_by_the_step(place: Path) -> None:
    recipe, device = recipe_of(place, "losses.grounding.anchors=one", "model.dropout=0"), torch.device("cpu")
    data = build_data(recipe)
    state, batch = build_state(recipe, data, Context(device, place)), data.train.batch([0, 1, 2])
    audio, visual = state.network.ground(batch.audio, batch.image)
    pairs = (audio.detach(), visual.detach(), batch.truth, "multi")
    each = [float(grounding_loss(*pairs, anchors=torch.tensor([second]))) for second in range(10)]
    taken = []
    for step in range(6):
        state.begin_step(0, step)
        loss = train_step(state, batch)["loss"].item()
        taken.append(each.index(pytest.approx(loss, rel=1e-5)))
    assert len(set(taken)) > 1
    state.begin_step(0, 0)
    assert each[taken[0]] == pytest.approx(train_step(state, batch)["loss"].item())


def test_silence_is_none_where_it_cannot_be_measured_and_a_file_is_checked(place: Path, tmp_path: Path) -> None:
    data = build_data(recipe_of(place, "truth.silence=measured"))
    assert "no second counts as silent" in data.notes[0]
    np.save(tmp_path / "silence.npy", np.zeros(7, np.float32))
    with pytest.raises(DataError, match="holds 7 numbers, the sound's features have 6"):
        build_data(recipe_of(place, f"truth.silence={tmp_path / 'silence.npy'}"))
    with pytest.raises(DataError, match=r"truth\.silence"):
        build_data(recipe_of(place, "truth.silence=none.npy"))
    np.save(tmp_path / "silence.npy", np.ones(6, np.float32))
    assert build_data(recipe_of(place, f"truth.silence={tmp_path / 'silence.npy'}")).notes == []


@pytest.mark.parametrize("how", ["finetune", "features"])
def test_a_parser_starts_from_it(place: Path, how: str) -> None:
    kind = ("--set", "model.kind=grounding") if how == "finetune" else ("--set", "model.pretrained=features")
    sizes = "model.transformer={dim: 16, depth: 1, heads: 2, hidden: 16}"
    start = ("--set", "model.init.recipe=tiny_grounding", "--set", sizes, "--set", "train.epochs=1")
    base = ("train", place / "tiny_parsing.yaml", "--row", "han", *kind, *start)
    arguments = (*base, "--runs", place / "runs", "--overwrite", "--device", "cpu", "--json")
    result = json.loads(asgm(*arguments).stdout)
    run = place / "runs/tiny_parsing/han/seed0"
    judged = json.loads(asgm("eval", run, "--json", "--out", place / f"eval-{how}", "--device", "cpu").stdout)
    assert {name: judged["metrics"][name] for name in result["metrics"]} == pytest.approx(result["metrics"])
    tokens = sorted(path.name for path in (place / "own/features").glob("*_tokens-*.npy"))
    assert len(tokens) == (2 if how == "features" else 0)
    assert (run / "tokens.safetensors").exists() == (how == "features")


def test_it_has_no_answer_for_a_clip(place: Path) -> None:
    told = asgm("predict", place / "runs/tiny_grounding/multi/seed0", place / "x.mp4", code=2).stderr
    assert "a grounding run is a start for other runs" in told


def test_the_network_has_the_recipes_sizes(place: Path) -> None:
    network = grounding.network(recipe_of(place), 0)
    shape = network.audio_embeddings.audio_linear.weight.shape  # type: ignore[union-attr]
    assert shape == (16, 128)
    whole = GroundingTransformer(16, 1, 2, 16, 1, 1, *DIMS)
    assert sum(p.numel() for p in whole.uniter.parameters()) > 1000
