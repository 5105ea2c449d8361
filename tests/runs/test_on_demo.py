"""Recipes in the demo's sizes: what stays a row's own, what is run once, and what tables and figures say of it."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from rich.console import Console

from asgmcli.commands.eval import command as eval_command
from asgmcli.commands.train import command as train_command
from asgmcli.errors import RecipeError
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.masks import MasksRecipe
from asgmcli.recipe.read import load_recipe, settings_hash
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.segmentation import SegmentationRecipe
from asgmcli.runs.on_demo import RecipeFile, load_on_demo, number_of
from asgmcli.runs.shares import Shares
from asgmcli.runs.sweep import Job
from asgmcli.tasks.masks import pictures
from asgmcli.tasks.masks.masks_figure import MaskPanels, mask_panels
from tests.tiny_training import TEXT

LARGE = """
name: large
task: recognition
title: Large
cost: a week
default_row: full
rows:
  told: {title: of another paper, paper: {top1: 50.1}, cited: its own number}
  tube: {title: tube, set: {masks.kind: tube, masks.alpha: 10.0, losses.contrastive.weight: 0.0}, paper: {top1: 66.7}}
  strict: {title: strict, set: {thresholds.value: 0.95, masks.kind: tube}}
  full: {title: full, paper: {top1: 72.6}}
  shared: {title: maps shared, set: {masks.average_frames: 8}}
data: {dataset: ucf51, labeled_per_class: 2, split_seed: 9, workers: 16}
thresholds: {mapping: convex}
localizer: {kind: motion}
losses: {mixup: {weight: 7.0}, contrastive: {temperature: 0.01}}
train: {epochs: 50}
"""
MASKS = """
name: where
task: masks
title: Where
default_row: motion
rows: {motion: {title: motion}}
data: {dataset: ucf51}
example: {split: test, label: PlayingCello, number: 1, frame: 4}
localizer: {file: fnac.pth}
"""
FIGURE = """
name: threshold
task: recognition
title: Threshold
default_row: a0.3
figure: {key: thresholds.value, label: threshold}
rows:
  a0.3: {title: "ours, 0.3", curve: ours, set: {thresholds.value: 0.3}, paper: {top1: 72.58}}
  a0.6: {title: "ours, 0.6", curve: ours, set: {thresholds.value: 0.6}}
  b0.3: {title: "other, 0.3", curve: other, set: {thresholds.value: 0.3, thresholds.kind: fixed}}
data: {dataset: ucf51, labeled_per_class: 1}
localizer: {kind: motion}
"""


@pytest.fixture
def place(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small forms, large recipes, and the demo data where both look for it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo, tmp_path / "data" / "demo")  # maps are written into it
    small = TEXT.replace("masks: {kind: tube}", "localizer: {kind: motion, seconds: 1.5}")
    (tmp_path / "demo.yaml").write_text(small.replace("name: tiny", "name: demo"))
    shutil.copytree(Path(__file__).parents[2] / "recipes" / "on_demo", tmp_path / "on_demo")
    for name, shipped, own in (
        ("recognition", "masks.average_frames: 1", "masks.average_frames: 4"),
        ("masks", "grid: 7", "grid: 3"),
    ):
        overlay = tmp_path / "on_demo" / f"{name}.yaml"
        overlay.write_text(overlay.read_text().replace(shipped, own))
    (tmp_path / "large.yaml").write_text(LARGE)
    (tmp_path / "where.yaml").write_text(MASKS)
    (tmp_path / "threshold.yaml").write_text(FIGURE)
    return tmp_path


def train(*arguments: object) -> Result:
    return CliRunner().invoke(train_command, [str(argument) for argument in arguments])


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(eval_command, [str(argument) for argument in arguments])


def test_rows_and_labels_stay_and_sizes_are_the_demos(place: Path) -> None:
    small, large = RecipeFile(place / "demo.yaml").load(), RecipeFile(place / "large.yaml").load("tube")
    recipe = load_on_demo(place / "large.yaml", "tube", ("train.max_steps=3",), 4)
    for part in (recipe, small, large):
        assert isinstance(part, RecognitionRecipe)
    assert (recipe.name, recipe.default_row, recipe.seed, recipe.cost) == ("large@demo", "tube", 4, "")
    assert list(recipe.rows) == ["tube", "strict", "full", "shared"]
    assert not any(row.paper or row.cited for row in recipe.rows.values())
    assert (recipe.data.dataset, recipe.data.workers, recipe.data.keep_decoded) == ("demo", 0, True)
    assert (recipe.data.labeled_per_class, recipe.data.split_seed) == (2, 9)
    for name in ("clip", "audio", "augment", "evaluate"):
        assert getattr(recipe, name) == getattr(small, name), name
    assert (small.localizer, recipe.localizer) == (load_on_demo(place / "large.yaml", "full").localizer, None)
    assert (recipe.model.video, recipe.model.audio) == (small.model.video, small.model.audio)
    assert recipe.train == small.train.model_copy(update={"max_steps": 3})
    # The method is the large recipe's, its numbers those of the small one, and the row has the last word.
    assert (recipe.thresholds.mapping, recipe.thresholds.value) == ("convex", 0.11)
    assert (recipe.losses.mixup.weight, recipe.losses.contrastive.temperature) == (2.0, 0.05)
    assert (recipe.masks, recipe.losses.contrastive.weight) == (large.masks, 0.0)
    strict = load_on_demo(place / "large.yaml", "strict")
    assert strict.thresholds.value == 0.95
    assert strict.losses.contrastive.weight == 0.1


def test_eight_frames_of_four_are_four(place: Path) -> None:
    recipe = load_on_demo(place / "large.yaml", "shared")
    assert isinstance(recipe, RecognitionRecipe)
    assert recipe.masks.average_frames == recipe.clip.frames == 4
    four = load_on_demo(place / "large.yaml", "full", ("masks.average_frames=4",), 5)
    assert settings_hash(recipe) == settings_hash(four)
    assert settings_hash(recipe) != settings_hash(load_on_demo(place / "large.yaml", "full"))


def test_a_recipe_may_have_sizes_of_its_own(place: Path) -> None:
    overlay = place / "on_demo" / "recognition.yaml"
    shipped = overlay.read_text()
    assert "figure5_frames:" in shipped
    changed = shipped.replace("figure5_frames:", "large:").replace(
        "clip.frames: 4, clip.stride: 2", "clip.frames: 2, clip.stride: 3"
    )
    overlay.write_text(changed.replace("average_frames: 4", "average_frames: 2"))
    recipe = load_on_demo(place / "large.yaml", "shared")
    assert isinstance(recipe, RecognitionRecipe)
    assert (recipe.clip.frames, recipe.clip.stride, recipe.masks.average_frames) == (2, 3, 2)
    other = load_on_demo(place / "threshold.yaml")
    assert isinstance(other, RecognitionRecipe)
    assert (other.clip.frames, other.clip.stride) == (4, 2)


def test_a_figure_of_a_clip_takes_the_demos_grid_and_classes(place: Path) -> None:
    recipe = load_on_demo(place / "where.yaml")
    assert isinstance(recipe, MasksRecipe)
    assert (recipe.data.dataset, recipe.grid, recipe.example.label, recipe.example.number) == ("demo", 3, None, 1)
    assert recipe.localizer.kind == "motion"


def test_what_has_no_small_form_is_told(place: Path) -> None:
    with pytest.raises(RecipeError, match="on the demo data already; leave --on-demo out"):
        load_on_demo(place / "demo.yaml")
    start = {"task": "pretext", "title": "Start", "default_row": "a", "rows": {"a": {"title": "a"}}}
    (place / "start.yaml").write_text(json.dumps({**start, "model": {"localizer": {}}}))
    with pytest.raises(RecipeError, match="a pretext recipe has no small form"):
        load_on_demo(place / "start.yaml")
    with pytest.raises(RecipeError, match=r"cannot be run, it is cited: its own number\. Rows to run: tube, strict"):
        load_on_demo(place / "large.yaml", "told")


def test_without_a_small_recipe_beside_it_the_shipped_one_gives_its_sizes(place: Path) -> None:
    (place / "demo.yaml").rename(place / "away.yaml")
    recipe, shipped = load_on_demo(place / "large.yaml"), load_recipe(Path(__file__).parents[2] / "recipes/demo.yaml")
    assert isinstance(recipe, RecognitionRecipe)
    assert isinstance(shipped, RecognitionRecipe)
    assert recipe.name == "large@demo"
    assert (recipe.clip, recipe.train, recipe.localizer) == (shipped.clip, shipped.train, shipped.localizer)


def test_the_released_localizers_come_out_as_the_demos(place: Path) -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    small = RecipeFile(recipes / "demo_localizer.yaml").load()
    found = load_on_demo(recipes / "localizer_vggsound10k.yaml")
    assert isinstance(found, LocalizationRecipe)
    assert settings_hash(found) == settings_hash(small)


def test_a_row_that_starts_from_anothers_run_starts_from_the_demos_of_the_same_network() -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    table = recipes / "ufe_table4_ms3.yaml"
    started = 0
    for row in load_recipe(table).runnable:
        recipe = load_on_demo(table, row)
        assert isinstance(recipe, SegmentationRecipe)
        start = recipe.model.init
        assert start is not None
        if not row.endswith("_from_s4"):
            assert (start.recipe, start.row) == ("ufe_demo_pretext", None)
            continue
        other = load_recipe(recipes / f"{start.recipe}.yaml", start.row)
        assert isinstance(other, SegmentationRecipe)
        same = {"init": None}
        assert other.model.model_copy(update=same) == recipe.model.model_copy(update=same)
        assert (other.flow.encoder, other.semi_supervised) == (recipe.flow.encoder, row.endswith("_ufe_from_s4"))
        started += 1
    assert started == 8


def test_the_key_of_a_figure_is_a_number(place: Path) -> None:
    recipe = RecipeFile(place / "threshold.yaml").load("a0.6")
    assert number_of(recipe, "thresholds.value") == 0.6
    for key, words in (("thresholds.valu", "not one of its keys"), ("thresholds.kind", "not a number")):
        with pytest.raises(RecipeError, match=words):
            number_of(recipe, key)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("paper: {top1: 50.1}, ", ""), "a row that is cited has a number"),
        (("cited: its", "set: {seed: 3}, cited: its"), "nothing to set"),
        (("default_row: full", "default_row: told"), "row 'told' cannot be run"),
        (("train: {epochs: 50}", "figure: {key: seed, label: s}"), "go together: rows tube, strict"),
        (("title: strict,", "title: strict, curve: a,"), "go together: rows strict"),
    ],
)
def test_rows_that_make_no_table(place: Path, change: tuple[str, str], words: str) -> None:
    (place / "large.yaml").write_text(LARGE.replace(*change))
    with pytest.raises(RecipeError, match=words):
        RecipeFile(place / "large.yaml").load()


# ---- runs


@pytest.fixture
def finish(place: Path) -> Callable[..., None]:
    """Pretend that a row of a recipe has been trained."""
    from asgmcli.data.manifest import read_manifest
    from asgmcli.recipe.read import dump_yaml
    from asgmcli.train.run import run_of

    sha256 = read_manifest(place / "data" / "demo").sha256

    def done(name: str, row: str, top1: float, seed: int = 0, on_demo: bool = True, data: str = sha256) -> None:
        recipe = RecipeFile(place / f"{name}.yaml", on_demo).load(row, (), seed)
        run = run_of(recipe, Path("runs"))
        run.folder.mkdir(parents=True)
        run.recipe_path.write_text(dump_yaml(recipe))
        about = {"task": "recognition", "recipe": recipe.name, "row": row, "seed": seed, "data": {"manifest": data}}
        run.result_path.write_text(json.dumps({**about, "metrics": {"top1": top1, "top5": 90.0}}))

    return done


def said(result: Result) -> str:
    return " ".join(result.stderr.split())


@pytest.mark.long
def test_what_comes_out_the_same_is_run_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the same row is one run, and a second call finds it."""

    def run_here(
        jobs: list[Job],
        devices: list[str],
        parallel: int,
        console: Console,
        shares: Shares | None = None,
    ) -> None:
        assert [train(*job.arguments).exit_code for job in jobs] == [0] * len(jobs)

    importlib.import_module("asgmcli.runs.session")  # or its first import would keep the fake for all later tests
    monkeypatch.setattr("asgmcli.runs.sweep.run_jobs", run_here)
    rows: dict[str, Any] = yaml.safe_load(LARGE)["rows"]
    small = {"full": rows["full"], "again": {"title": "the same again"}, "shared": rows["shared"]}
    values = {**yaml.safe_load(LARGE), "name": "one", "rows": small}
    (place / "one.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    tiny = ("--set", "train.max_steps=2", "--set", "train.supervised_epochs=0", "--jobs", 1)
    first = train("one.yaml", "--on-demo", "--row", "all", *tiny, "--json")
    assert first.exit_code == 0, first.output
    assert "again seed 0: the same settings as runs/one@demo/full/seed0, which counts." in said(first)
    assert "2 runs to train, 1 finished" in said(first)
    assert sorted(path.parent.parent.name for path in Path("runs").glob("*/*/seed0/result.json")) == ["full", "shared"]
    answer = json.loads(first.stdout)
    assert answer["columns"] == ["row", "top1", "top5", "top1_student", "seeds", "gain of full, top1 (95%)"]
    assert [line[0] for line in answer["rows"]] == ["full", "the same again", "maps shared"]
    assert answer["rows"][0][1] == answer["rows"][1][1]
    assert answer["title"] == "Large, on the demo data"

    second = train("one.yaml", "--on-demo", "--row", "all", *tiny, "--json")
    assert second.exit_code == 0, second.output
    assert "0 runs to train, 3 finished" in said(second)
    assert json.loads(second.stdout)["rows"] == answer["rows"]


def test_tables_on_the_demo_say_nothing_of_the_paper(place: Path, finish: Callable[..., None]) -> None:
    for seed, top1 in enumerate((60.0, 64.0)):
        finish("large", "full", top1, seed)
    finish("large", "tube", 50.0)
    answer = evaluate("large.yaml", "--on-demo", "--json")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert "paper" not in found["columns"]
    assert [line[0] for line in found["rows"]] == ["tube", "strict", "full", "maps shared"]
    assert found["missing"] == {"tube": [1], "strict": [], "shared": []}
    assert "asgm train large.yaml --on-demo --row all --seeds 2" in said(answer)
    assert "Cost" not in said(answer)
    for name in ("table.md", "table.csv"):
        assert "72.6" not in (Path("runs/large@demo") / name).read_text()
    assert evaluate("runs/large@demo/full/seed0", "--on-demo").exit_code == 2


def test_tables_at_full_size_stand_beside_the_paper(place: Path, finish: Callable[..., None]) -> None:
    for seed, top1 in enumerate((70.0, 74.0)):
        finish("large", "full", top1, seed, on_demo=False)
    answer = evaluate("large.yaml", "--json")
    assert answer.exit_code == 0, answer.output
    rows = {line[0]: line for line in json.loads(answer.stdout)["rows"]}
    assert rows["full"] == ["full", "72.0 ± 2.8", "90.0 ± 0.0", 2, None, 72.6]
    assert rows["of another paper"] == ["of another paper", None, None, None, None, 50.1]
    assert json.loads(answer.stdout)["missing"] == {"tube": [], "strict": [], "shared": []}
    assert "Cost: a week" in said(answer)
    table = Path("runs/large/table.md").read_text()
    assert "of another paper: its own number.\n\n- Missing: tube: no finished run\n- Missing: strict:" in table


@pytest.mark.pictures
def test_a_figure_draws_what_is_measured_and_what_is_printed(place: Path, finish: Callable[..., None]) -> None:
    from asgmcli.runs.gather import gather

    finish("threshold", "a0.6", 61.0, on_demo=False)
    finish("threshold", "b0.3", 55.0, on_demo=False)
    answer = evaluate("threshold.yaml", "--json")
    assert answer.exit_code == 0, answer.output
    folder = Path("runs/threshold")
    assert [Path(path).name for path in json.loads(answer.stdout)["outputs"]][3:] == ["curve.png", "curve.svg"]
    with Image.open(folder / "curve.png") as picture:
        assert picture.width > 800
    assert (folder / "curve.svg").read_text().startswith("<?xml")
    assert "1 of the 3 points in words; the others are drawn in its figure without numbers" in said(answer)
    ours, other = gather(RecipeFile(place / "threshold.yaml"), Path("runs")).lines
    assert (ours.name, ours.main, other.name, other.main) == ("ours", True, "other", False)
    assert [(point.at, point.mean, point.paper) for point in ours.points] == [(0.3, None, 72.58), (0.6, 61.0, None)]
    assert [(point.at, point.mean, point.paper) for point in other.points] == [(0.3, 55.0, None)]

    finish("threshold", "a0.3", 40.0)
    small = evaluate("threshold.yaml", "--on-demo", "--json")
    assert small.exit_code == 0, small.output
    assert "words" not in said(small)
    lines = gather(RecipeFile(place / "threshold.yaml", True), Path("runs")).lines
    assert [point.paper for line in lines for point in line.points] == [None] * 3


def test_masks_are_drawn_as_a_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = train("where.yaml", "--set", "localizer={kind: motion}")
    assert nothing.exit_code == 3
    assert "asgm prepare ucf51" in said(nothing)
    assert not Path("runs").exists()
    few = train("where.yaml", "--on-demo", "--set", "example.number=10")
    assert few.exit_code == 3
    assert "10 clips with sound in split 'test', counted from 0" in said(few)
    shown: list[MaskPanels] = []

    def drawn(panels: list[MaskPanels], path: Path, **settings: Any) -> Path:
        shown.extend(panels)
        return mask_panels(panels, path, **settings)

    monkeypatch.setattr(pictures, "mask_panels", drawn)
    result = train("where.yaml", "--on-demo", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    # The tube keeps a third of nine tokens wherever they lie; the guided draw more of the map's weight than that.
    assert found["metrics"]["heat_tube"] == pytest.approx(100 / 3, abs=5)
    assert found["metrics"]["heat_guided"] > found["metrics"]["heat_tube"] + 5
    (x1, y1, x2, y2), *others = shown[0].boxes.tolist() if shown[0].boxes is not None else []
    assert not others  # one thing sounds, and it is boxed
    assert 0 <= x1 < x2 <= 1
    assert 0 <= y1 < y2 <= 1
    run = Path("runs/where@demo/motion/seed0")
    assert {path.name for path in run.iterdir()} == {
        *("environment.json", "masks.png", "masks.svg", "recipe.yaml", "result.json")
    }
    gathered = evaluate("where.yaml", "--on-demo", "--json")
    assert gathered.exit_code == 0, gathered.output
    for name in ("masks.png", "masks.svg"):
        assert (Path("runs/where@demo") / name).read_bytes() == (run / name).read_bytes()
    assert "drew a figure" in said(evaluate(run))
    assert train("where.yaml", "--on-demo").exit_code == 2
    assert train("where.yaml", "--on-demo", "--overwrite", "--seed", 0).exit_code == 0
