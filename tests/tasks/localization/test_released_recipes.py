"""The released localizers: their settings and printed numbers, their start, and the data they are evaluated on."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from asgmcli.commands.eval import command as eval_command
from asgmcli.data.boxes import FrameBoxes
from asgmcli.data.manifest import read_manifest, write_manifest
from asgmcli.errors import DataError, RecipeError
from asgmcli.metrics.localization import boxes_map
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.sections import Start
from asgmcli.recipe.training import Optimizer
from asgmcli.runs.session import Session
from asgmcli.runs.sweep import summarize
from asgmcli.tasks.localization.cases import Case, choose_cases, draw_cases
from asgmcli.tasks.localization.data import build_data
from asgmcli.tasks.localization.evaluate import Located, evaluation_of, measure
from asgmcli.tasks.localization.model import build_state
from asgmcli.train.schedule import make_optimizer
from asgmcli.train.task import Context

RECIPES = Path(__file__).parents[3] / "recipes"
# docs/METHOD.md, "Mixing and the localizer".
PRINTED = {
    "localizer_flickr10k": (35.27, 38.00),
    "localizer_flickr144k": (33.93, 37.29),
    "localizer_vggsound10k": (37.29, 38.99),
    "localizer_vggsound144k": (39.50, 39.66),
}
TEXT = """
name: ears
task: localization
title: Ears
default_row: only
rows: {only: {title: only, paper: {ciou50: 39.5, auc: 39.66}}}
data: {dataset: mute, manifest: MANIFEST, keep_decoded: true}
model: {dim: 8, width: 4, stride: 8, image_dropout: 0.0}
input: {size: 32, resize: 36, seconds: 0.5}
evaluate: {frames: 1, batch: 4, dataset: boxed, manifest: OTHER}
train: {epochs: 1, batch: 6, max_steps: 1, optimizer: {kind: adam, lr: 1e-3, weight_decay: 1e-4}}
"""
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", PRINTED)
def test_the_released_settings(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert isinstance(recipe, LocalizationRecipe)
    assert recipe.rows["fnac"].paper == dict(zip(("ciou50", "auc"), PRINTED[name], strict=True))
    train, optimizer = recipe.train, recipe.train.optimizer
    assert (train.epochs, train.batch, optimizer.kind, optimizer.lr, optimizer.weight_decay) == (
        30,
        256,
        "adam",
        1e-4,
        1e-4,
    )
    assert optimizer.schedule == "constant"
    assert (recipe.losses.contrastive_epochs, recipe.losses.weight, recipe.losses.temperature) == (5, 100, 0.03)
    assert (recipe.model.image_dropout, recipe.model.audio_dropout) == (0.9, 0)
    assert (recipe.model.dim, recipe.model.width, recipe.model.stride, recipe.model.norm) == (512, 64, 32, False)
    assert recipe.input.model_dump() == {"size": 224, "resize": 246, "seconds": 3.0, "mask_width": 10}
    assert recipe.model.init is not None
    assert recipe.model.init.timm == "resnet18.tv_in1k"
    assert recipe.evaluation_data.dataset == "vggss"
    assert recipe.evaluation_data.eval_split == "test"


@pytest.mark.parametrize("name", PRINTED)
def test_missing_data_names_the_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert isinstance(recipe, LocalizationRecipe)
    session = Session(tmp_path, RECIPES, CPU, Console(file=io.StringIO()))
    if recipe.evaluate.dataset is not None:
        with pytest.raises(DataError, match=r"data/vggss/manifest.csv.*asgm prepare vggss --root FOLDER"):
            session.ensure(recipe)
    place = f"data/{name.removeprefix('localizer_')}"
    with pytest.raises(DataError, match=rf"asgm prepare {recipe.data.dataset} --root FOLDER --out {place} and"):
        build_data(recipe)
    command = f"#   asgm prepare {recipe.data.dataset} --root "
    (line,) = [line for line in (RECIPES / f"{name}.yaml").read_text().splitlines() if line.startswith(command)]
    assert line.endswith(f"--out {place}")


def test_adam_decays_every_parameter_through_its_gradient() -> None:
    layer = torch.nn.Linear(3, 2)
    optimizer = make_optimizer([layer], Optimizer(kind="adam", lr=1e-4, weight_decay=0.3, momentum=0.8))
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert (len(group["params"]), group["weight_decay"], group["betas"]) == (2, 0.3, (0.8, 0.999))


@pytest.fixture
def ears(demo: Path, tmp_path: Path) -> LocalizationRecipe:
    """Trained on clips without boxes, evaluated on the demo's."""
    manifest = read_manifest(demo)
    rows = [replace(row, path=str(manifest.resolve(row)), audio=str(manifest.resolve(row))) for row in manifest.rows]
    write_manifest(tmp_path / "mute", rows[:12], manifest.classes)
    text = TEXT.replace("MANIFEST", json.dumps(str(tmp_path / "mute" / "manifest.csv")))
    path = tmp_path / "ears.yaml"
    path.write_text(text.replace("OTHER", json.dumps(str(demo / "manifest.csv"))))
    recipe = load_recipe(path)
    assert isinstance(recipe, LocalizationRecipe)
    return recipe


@pytest.mark.long
@pytest.mark.pictures
def test_trained_on_one_data_set_and_judged_on_another_beside_the_paper(
    ears: LocalizationRecipe,
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    from click.testing import CliRunner

    session = Session(tmp_path / "runs", tmp_path, CPU, Console(file=io.StringIO()))
    session.ensure(ears)
    result = session.run(ears)
    assert result["data"]["manifest"] == read_manifest(tmp_path / "mute").sha256
    assert result["data"]["eval_manifest"] == read_manifest(demo).sha256
    assert result["data"]["pairs"] == 12
    run = tmp_path / "runs" / "ears" / "only" / "seed0"
    table = (run / "localization.md").read_text()
    assert "10 frames" in table
    assert "| 39.5 |" in table
    assert "| 39.7 |" in table
    assert Image.open(run / "localization.png").width > 800
    gathered = summarize(ears, [result])
    assert list(gathered.columns) == ["row", "inside", "chance", "ciou50", "paper", "ciou", "auc", "paper", "seeds"]
    assert [gathered.rows[0][4], gathered.rows[0][7]] == [39.5, 39.66]

    monkeypatch.chdir(tmp_path)
    judged = CliRunner().invoke(eval_command, [str(run), "--json"])
    assert judged.exit_code == 0, judged.output
    answer = json.loads(judged.stdout)
    assert answer["metrics"] == result["metrics"]
    assert answer["tables"]["localization"]["columns"] == ["measure", "percent", "paper"]
    other = CliRunner().invoke(eval_command, [str(run), "--data", str(demo), "--split", "val", "--json"])
    assert other.exit_code == 0, other.output
    # Of other clips the paper says nothing.
    assert json.loads(other.stdout)["tables"]["localization"]["columns"] == ["measure", "percent"]


def test_a_data_set_to_judge_on_needs_boxes(ears: LocalizationRecipe, tmp_path: Path) -> None:
    mute = str(tmp_path / "mute" / "manifest.csv")
    evaluate = ears.evaluate.model_copy(update={"manifest": mute})
    with pytest.raises(DataError, match="no boxes here"):
        build_data(ears.model_copy(update={"evaluate": evaluate}))
    text = TEXT.replace("dataset: boxed, ", "").replace("MANIFEST", "a").replace("OTHER", "b")
    (tmp_path / "nameless.yaml").write_text(text)
    with pytest.raises(RecipeError, match="manifest without dataset"):
        load_recipe(tmp_path / "nameless.yaml")


def test_imagenet_starts_the_image_network_alone(
    ears: LocalizationRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(4)
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    (tmp_path / "weights").mkdir()
    save_file(state, tmp_path / "weights" / "resnet18.tv_in1k.safetensors")
    start = ears.model.model_copy(update={"width": 64, "init": Start(timm="resnet18.tv_in1k")})
    recipe = ears.model_copy(update={"model": start})
    network = build_state(recipe, build_data(recipe), Context(CPU, tmp_path)).network
    assert torch.equal(network.imgnet.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert not torch.equal(network.audnet.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    frozen = ears.model.model_dump() | {"frozen_trunks": True, "init": {"timm": "resnet18.tv_in1k"}}
    with pytest.raises(ValueError, match="image network alone"):
        type(ears.model).model_validate(frozen)


def test_several_annotators_are_judged_by_their_consensus() -> None:
    halves = np.array([[0, 0, 0.5, 1], [0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    agreed, drawn = boxes_map(halves, 4, (0, 0, 0)), boxes_map(halves, 4, (1, 2, 3))
    assert agreed.min() == 1
    assert (drawn[:, :2] == 1).all()
    assert (drawn[:, 2:] == 0.5).all()
    assert (boxes_map(halves, 4, (1, 1, 2)) == 0.5).all()  # one person's boxes count once
    # Hot is the left half: half of one annotation; of two who agree and one who does not 1 / 1.5.
    heatmap = np.repeat(np.linspace(1, 0, 32)[None], 32, axis=0)[None]
    assert measure(heatmap, [FrameBoxes(halves, (0, 0, 0))])["ciou"] == pytest.approx(50, abs=1)
    assert measure(heatmap, [FrameBoxes(halves, (1, 2, 3))])["ciou"] == pytest.approx(200 / 3, abs=1)


def test_the_best_the_median_and_the_worst_are_chosen() -> None:
    values = [0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.8]
    assert choose_cases(values, count=2) == {"best": [1, 6], "median": [4, 2], "worst": [5, 0]}
    assert choose_cases([0.2, 0.4]) == {"all": [1, 0]}
    chosen = choose_cases([float(i) for i in range(100)])
    assert [len(row) for row in chosen.values()] == [5, 5, 5]
    assert chosen["median"] == [52, 51, 50, 49, 48]


@pytest.mark.pictures
@pytest.mark.parametrize("suffix", ["png", pytest.param("svg", marks=pytest.mark.long)])
def test_the_picture_names_each_frames_ciou(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 255, (7, 3, 40, 40), dtype=np.uint8))
    boxes = [FrameBoxes(np.array([[0.1, 0.2, 0.6, 0.7]]), (0,))] * 7
    heatmaps = rng.random((7, 5, 5)).astype(np.float32)
    heatmaps[3] = 1.0  # nothing stands out
    places = [(f"{'a very long name of a clip ' * 2}{i}", i) for i in range(7)]
    found = evaluation_of(Located(places, images, heatmaps, boxes), {})
    found.figures["localization"](tmp_path / f"cases.{suffix}")
    assert (tmp_path / f"cases.{suffix}").stat().st_size > 10_000
    assert list(found.tables["localization"].columns) == ["measure", "percent"]
    alone = [Case(places[0], images[0], heatmaps[0], boxes[0].corners, 0.25)]
    draw_cases({"all": alone}, "one frame", tmp_path / f"one.{suffix}")
    assert (tmp_path / f"one.{suffix}").exists()
