"""Every recipe loads, in every row, and takes two steps in miniature, after what it needs, in miniature too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from asgmcli.commands.train import command
from asgmcli.recipe import dump_yaml, load_recipe, read_yaml
from asgmcli.sections import Encoder, Start
from asgmcli.settings import LocalizationRecipe, PretextRecipe, Recipe, RecognitionRecipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
ROWS = [(path, row) for path in RECIPES for row in read_yaml(path).get("rows", {})]
NAMES = [path.stem for path in RECIPES]
PATCH, FRAMES = 8, 2


def named(pairs: list[tuple[Path, str]]) -> list[str]:
    return [f"{path.stem}-{row}" for path, row in pairs]


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_loads_and_says_what_it_is(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.title
    assert all(row.title for row in recipe.rows.values())
    for source in sources(recipe):
        assert source.recipe is None or (path.parent / f"{source.recipe}.yaml").exists()


@pytest.mark.parametrize(("path", "row"), ROWS, ids=named(ROWS))
def test_every_row_loads_and_changes_what_it_names(path: Path, row: str) -> None:
    recipe = load_recipe(path, row)
    assert recipe.default_row == row
    values = recipe.model_dump(mode="json")
    for key, wanted in recipe.rows[row].set.items():
        found: Any = values
        for part in key.split("."):
            found = found[part]
        assert found == wanted or (wanted == "none" and found is None), key
    assert all(0 <= number <= 100 for number in recipe.rows[row].paper.values())


def sources(recipe: Recipe) -> list[Any]:
    """Everything in a recipe that may name another one."""
    if isinstance(recipe, RecognitionRecipe):
        found = [recipe.model.video.init, recipe.model.audio.init, recipe.localizer]
    else:
        found = [recipe.model.init] if isinstance(recipe, LocalizationRecipe) else []
    return [source for source in found if source is not None]


def shrunk(recipe: Recipe) -> Recipe:
    """The recipe with the smallest networks, clips and batches that still are what it describes."""

    def start(init: Start | None) -> Start | None:
        return init if init is not None and init.recipe is not None else None

    def encoder(settings: Encoder, patch: int) -> Encoder:
        hidden = None if settings.embed_hidden is None else 8
        sizes = {"dim": 8, "depth": 2, "heads": 2, "patch_size": patch, "embed_hidden": hidden}
        return settings.model_copy(update={**sizes, "init": start(settings.init)})

    train: dict[str, Any] = {"epochs": 1, "max_steps": 2, "batch": 4, "supervised_epochs": 0}
    if isinstance(recipe, RecognitionRecipe):
        train |= {"batch": 2, "unlabeled_ratio": min(recipe.train.unlabeled_ratio, 2)}
    changes: dict[str, Any] = {"train": recipe.train.model_copy(update=train)}
    if isinstance(recipe, RecognitionRecipe | PretextRecipe):
        size = 2 * PATCH if recipe.clip.size < 10 * PATCH else 3 * PATCH
        clip = {"frames": FRAMES, "stride": 4, "size": size, "short_side": (size, size + 4)}
        changes["clip"] = recipe.clip.model_copy(update=clip)
        changes["audio"] = recipe.audio.model_copy(update={"seconds": 0.64, "mels": 16})
        model = recipe.model
        if model.video is not None and model.audio is not None:
            encoders = {"video": encoder(model.video, PATCH), "audio": encoder(model.audio, 16)}
            if isinstance(recipe, RecognitionRecipe):
                encoders["fusion"] = recipe.model.fusion.model_copy(update={"heads": 2})  # type: ignore[assignment]
            changes["model"] = model.model_copy(update=encoders)
        elif isinstance(recipe, PretextRecipe):
            changes["model"] = model.model_copy(update={"localizer": small_localizer(recipe.model.localizer)})
    if isinstance(recipe, PretextRecipe):
        kept = {name: 3 for name in ("still_tokens", "clip_tokens") if getattr(recipe.generated, name) is not None}
        changes["generated"] = recipe.generated.model_copy(update={"train": 8, "test": 4, **kept})
    elif isinstance(recipe, LocalizationRecipe | RecognitionRecipe):
        views = {"clips": 1, "crops": 1} if isinstance(recipe, RecognitionRecipe) else {"frames": 1, "dataset": None}
        changes["evaluate"] = recipe.evaluate.model_copy(update={**views, "batch": 10})
        data = {"labeled_per_class": 1} if recipe.data.labeled_per_class else {}
        changes["data"] = recipe.data.model_copy(update={"dataset": "demo", "manifest": None, "workers": 0, **data})
    if isinstance(recipe, LocalizationRecipe):
        changes["input"] = recipe.input.model_copy(update={"size": 32, "resize": 36, "seconds": 0.5})
        changes["model"] = small_localizer(recipe.model.model_copy(update={"init": start(recipe.model.init)}))
    if isinstance(recipe, RecognitionRecipe):
        frames = min(recipe.masks.average_frames, FRAMES)
        changes["masks"] = recipe.masks.model_copy(update={"average_frames": frames})
        if recipe.localizer is not None:
            changes["localizer"] = recipe.localizer.model_copy(update={"seconds": 0.5})
    return recipe.model_copy(update=changes)


def small_localizer(model: Any) -> Any:
    return model.model_copy(update={"dim": 8, "width": 4, "stride": 8})


@pytest.fixture(scope="module")
def workplace(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo data set and every recipe in miniature, in which runs stay from test to test."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "recipes").mkdir()
    (folder / "data").mkdir()
    (folder / "data" / "demo").symlink_to(demo)
    for path in RECIPES:
        (folder / "recipes" / path.name).write_text(dump_yaml(shrunk(load_recipe(path))))
    return folder


@pytest.mark.parametrize(("path", "row"), ROWS, ids=named(ROWS))
def test_every_row_takes_two_steps(path: Path, row: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    recipe = shrunk(load_recipe(path, row))
    small = workplace / "recipes" / f"{path.stem}@{row}.yaml"
    small.write_text(dump_yaml(recipe.model_copy(update={"name": f"{path.stem}_{row}"})))
    result = CliRunner().invoke(command, [str(small), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["steps"] == 2
    assert found["failures"] == []
    assert found["metrics"]
    metrics = Path(f"runs/{path.stem}_{row}/{row}/seed0/metrics.jsonl")
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert lines[0]["step"] == 2
    if isinstance(recipe, RecognitionRecipe) and recipe.semi_supervised:
        weights = {name: getattr(recipe.losses, name).weight for name in ("unlabeled", "mixup", "contrastive")}
        missing = {name for name, weight in weights.items() if weight > 0} - lines[0].keys()
        assert not missing
