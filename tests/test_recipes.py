"""Every recipe loads, in every row and on the demo data; every choice that one makes takes two steps in miniature (a
figure of a clip draws), after what it needs, in miniature too."""

from __future__ import annotations

import json
import shutil
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from asgmcli.commands.train import command
from asgmcli.prepare.source import is_generated, manifest_path
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.event_figures import EventFiguresRecipe
from asgmcli.recipe.event_localization import EventLocalizationRecipe
from asgmcli.recipe.event_representation import EventRepresentationRecipe
from asgmcli.recipe.events import AudioNet
from asgmcli.recipe.grounding import GroundingFeatures, GroundingRecipe
from asgmcli.recipe.idle import settle
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.masks import MasksRecipe
from asgmcli.recipe.networks import Encoder, EncoderSize, VideoEncoder
from asgmcli.recipe.parsing import FeatureNames, ParsingRecipe
from asgmcli.recipe.parsing_figure import ParsedClip, ParsingFigureRecipe
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.recipe.read import DESCRIPTIVE_KEYS, dump_yaml, load_recipe, settings_hash
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.sections import SEED_OF_RUN, Start
from asgmcli.recipe.segmentation import SegmentationRecipe
from asgmcli.recipe.segmented import SegmentedRecipe
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.synthetic.demo_segmentation import generate as segmentation
from tests.parsing_files import write_set

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
ROWS = [(path, row) for path in RECIPES for row in load_recipe(path).runnable]
NAMES = [path.stem for path in RECIPES]
OF_THE_PAPER = [path for path in RECIPES if path.stem.startswith(("table", "figure"))]
PATCH, FRAMES = 8, 2


def large(path: Path) -> bool:
    """Whether a recipe is of data that are not generated."""
    return any(not is_generated(data) for data in load_recipe(path).data_sets())


def named(pairs: list[tuple[Path, str]]) -> list[str]:
    return [f"{path.stem}-{row}" for path, row in pairs]


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_loads_and_says_what_it_is(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.title
    assert all(row.title for row in recipe.rows.values())
    for source in recipe.sources():
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
        if isinstance(wanted, dict):  # a section: what it leaves out has its default
            found = {part: found[part] for part in wanted}
        wanted = recipe.seed if wanted == SEED_OF_RUN else wanted
        assert found == wanted or (wanted == "none" and found is None), key
    assert all(0 <= number <= 100 for number in recipe.rows[row].paper.values())


@pytest.mark.parametrize("path", [path for path in RECIPES if large(path)], ids=lambda p: p.stem)
def test_every_row_has_its_form_on_the_demo(path: Path) -> None:
    file, names = RecipeFile(path, on_demo=True), load_recipe(path).runnable
    assert list(file.load().rows) == list(names)
    for row in names:
        recipe = file.load(row)
        assert (recipe.name, recipe.default_row) == (f"{path.stem}@demo", row)
        assert not any(line.paper for line in recipe.rows.values())
        if isinstance(recipe, RecognitionRecipe):
            large = load_recipe(path, row)
            assert isinstance(large, RecognitionRecipe)
            assert recipe.data.labeled_per_class == large.data.labeled_per_class
            assert (recipe.listens, recipe.guided, recipe.masks.kind) == (large.listens, large.guided, large.masks.kind)
            assert recipe.thresholds.kind == large.thresholds.kind


PAPERS_FORMS: dict[str, object] = {
    "augment.labeled": "weak",
    "losses.unlabeled.labels": "sharp",
    "losses.unlabeled.temperature": 1.0,
    "losses.contrastive.clips": "all",
    "thresholds.alignment": False,
    "masks.maps": "own",
}


def test_rows_of_the_paper_have_the_papers_forms() -> None:
    rows = [load_recipe(path, row) for path in OF_THE_PAPER for row in load_recipe(path).runnable]
    recipes = [recipe for recipe in rows if isinstance(recipe, RecognitionRecipe)]
    assert len(recipes) > 40
    for recipe in recipes:
        assert recipe.thresholds.kind in ("fixed", "flexible")
        assert recipe.masks.kind in ("tube", "localization")
        for key, value in PAPERS_FORMS.items():
            section, name = key.rsplit(".", 1)
            assert getattr(reduce(getattr, section.split("."), recipe), name) == value, (recipe.name, key)


def test_rows_of_several_recipes_come_out_the_same_on_the_demo() -> None:
    """One run serves the paper's method at one label in Table 1 (three data sets) and Table 2."""
    folder = RECIPES[0].parent
    pairs = [(f"table1_{data}_1shot", "asgm_former") for data in ("ucf51", "kinetics400", "vggsound")]
    pairs += [("table2_ablation", "asgm_former")]
    hashes = {settings_hash(RecipeFile(folder / f"{name}.yaml", True).load(row)) for name, row in pairs}
    assert len(hashes) == 1
    frames = RecipeFile(folder / "figure5_frames.yaml", True)
    figure = [settings_hash(frames.load(f"frames{count}")) for count in (1, 2, 4, 8)]
    assert (len({*figure, *hashes}), figure[2]) == (4, figure[3])  # four frames a clip


def test_recipes_that_share_generated_clips_ask_for_the_same() -> None:
    asked: dict[Path, set[str]] = {}
    for path, row in ROWS:
        recipe = load_recipe(path, row, seed=5)
        if isinstance(recipe, RecognitionRecipe | LocalizationRecipe) and recipe.data.options:
            options = json.dumps(recipe.data.options, sort_keys=True)
            asked.setdefault(manifest_path(recipe.data), set()).add(options)
    assert asked
    assert all(len(options) == 1 for options in asked.values()), asked


def test_the_claims_recipes_are_one_at_other_strengths() -> None:
    folder = RECIPES[0].parent
    curve, claim = (folder / f"claim_{name}.yaml" for name in ("over_companions", "companions"))

    def at(row: str, strength: float) -> str:
        """The claim's row of that strength; clips for localizers are made once, at .9."""
        unbiased = 600 if strength == 0.9 else 0
        options = (f"data.options.companions={strength}", f"data.options.unbiased={unbiased}")
        return settings_hash(load_recipe(claim, row, options))

    strengths: dict[str, list[float]] = {}
    for name, row in load_recipe(curve).rows.items():
        recipe = load_recipe(curve, name)
        assert isinstance(recipe, RecognitionRecipe)
        strength = float(recipe.data.options["companions"])
        strengths.setdefault(row.curve, []).append(strength)
        assert settings_hash(recipe) == at(name.rpartition("_")[0], strength)
    assert list(strengths.values()) == [[0.0, 0.5, 0.7, 0.9]] * 5


def test_the_claim_in_the_standard_world_is_the_demos_rows() -> None:
    standard, demo = (RECIPES[0].parent / f"{name}.yaml" for name in ("claim_standard", "demo"))
    options = "data.options={seed: run, train: 1000, val: 10, test: 400}"
    shared = {
        "supervised": "supervised",
        "no_mixing": "no_mixing",
        "tube": "tube_contrastive",
        "guided_tokens": "asgm_former",
    }
    for own, name in shared.items():
        assert settings_hash(load_recipe(standard, own)) == settings_hash(load_recipe(demo, name, (options,))), own


def shrunk(recipe: Recipe) -> Recipe:
    """The recipe with the smallest networks, clips and batches that still are what it describes."""

    if isinstance(recipe, ParsingFigureRecipe):
        data = recipe.data.model_copy(update={"dataset": "own", "manifest": "data/own/manifest.csv"})
        runs = [run.model_copy(update={"row": None}) for run in recipe.runs]  # the one that its miniature has
        return recipe.model_copy(update={"data": data, "example": ParsedClip(), "runs": runs})
    if isinstance(recipe, ParsingRecipe | GroundingRecipe):
        return shrunk_parsing(recipe)
    if isinstance(recipe, EventRepresentationRecipe | EventLocalizationRecipe):
        return shrunk_events(recipe)
    if isinstance(recipe, EventFiguresRecipe):
        data = recipe.data.model_copy(update={"dataset": "demo_events"})
        classes = recipe.features.model_copy(update={"classes": list(range(10))})
        # The recipes of the workplace have their default row alone.
        runs = {name: getattr(recipe, name).model_copy(update={"row": None}) for name in ("shown", "against")}
        return settle(recipe.model_copy(update={"data": data, "features": classes, **runs}), (), Path("shrunk"))
    if isinstance(recipe, MasksRecipe):
        data = recipe.data.model_copy(update={"dataset": "demo"})
        example = recipe.example.model_copy(update={"label": None})
        return recipe.model_copy(update={"data": data, "example": example})

    if isinstance(recipe, SegmentedRecipe):
        one = recipe.data.model_copy(update={"dataset": "demo_segmentation", "recipe": "ufe_demo"})
        rows = recipe.shown.model_copy(update={"rows": ["tpavi_sound", "tpavi_nf"]})
        return recipe.model_copy(update={"data": one, "several": None, "shown": rows})

    def start(init: Start | None) -> Start | None:
        return init if init is not None and init.recipe is not None else None

    def encoder(settings: EncoderSize, patch: int) -> EncoderSize:
        hidden = None if settings.embed_hidden is None else 8
        sizes: dict[str, Any] = {"dim": 8, "depth": 2, "heads": 2, "patch_size": patch, "embed_hidden": hidden}
        if isinstance(settings, Encoder | VideoEncoder):
            sizes["init"] = start(settings.init)
        return settings.model_copy(update=sizes)

    trained = recipe.as_trained()
    assert trained is not None
    train: dict[str, Any] = {"epochs": 1, "max_steps": 2, "batch": 4}
    if isinstance(recipe, SegmentationRecipe):
        return small_segmenter(recipe, train, start(recipe.model.init))
    if isinstance(recipe, RecognitionRecipe):
        ratio = min(recipe.train.unlabeled_ratio, 2)
        train |= {"batch": 2, "unlabeled_ratio": ratio, "supervised_epochs": 0}
    changes: dict[str, Any] = {"train": trained.train.model_copy(update=train)}
    if isinstance(recipe, RecognitionRecipe | PretextRecipe):
        size = 2 * PATCH if recipe.clip.size < 10 * PATCH else 3 * PATCH
        clip: dict[str, Any] = {"frames": FRAMES, "stride": 4, "size": size}
        clip |= {"short_side": (size, size + 4)} if isinstance(recipe, RecognitionRecipe) else {}
        changes["clip"] = recipe.clip.model_copy(update=clip)
        changes["audio"] = recipe.audio.model_copy(update={"seconds": 0.64, "mels": 16})
        model = recipe.model
        if model.video is not None or model.audio is not None:
            parts = {"video": (model.video, PATCH), "audio": (model.audio, 16)}
            encoders = {name: encoder(part, patch) for name, (part, patch) in parts.items() if part is not None}
            if isinstance(recipe, RecognitionRecipe):
                encoders["fusion"] = recipe.model.fusion.model_copy(update={"heads": 2})  # type: ignore[assignment]
            changes["model"] = model.model_copy(update=encoders)
        elif isinstance(recipe, PretextRecipe) and model.backbones is not None:
            sizes = {"visual_width": 2, "visual_stride": 16, "audio_width": 2}
            changes["model"] = model.model_copy(update={"backbones": model.backbones.model_copy(update=sizes)})
        elif isinstance(recipe, PretextRecipe):
            changes["model"] = model.model_copy(update={"localizer": small_localizer(recipe.model.localizer)})
    if isinstance(recipe, PretextRecipe):
        kept = {name: 3 for name in ("still_tokens", "clip_tokens") if getattr(recipe.generated, name) is not None}
        kept |= {"glyphs": 4} if recipe.generated.glyphs is not None else {}
        changes["generated"] = recipe.generated.model_copy(update={"train": 8, "test": 4, **kept})
    elif isinstance(recipe, LocalizationRecipe | RecognitionRecipe):
        views = {"clips": 1, "crops": 1} if isinstance(recipe, RecognitionRecipe) else {"frames": 1, "dataset": None}
        changes["evaluate"] = recipe.evaluate.model_copy(update={**views, "batch": 10})
        one: dict[str, Any] = {"dataset": "demo", "manifest": None, "options": {}, "workers": 0}
        if isinstance(recipe, RecognitionRecipe):
            one |= {"eval_also": [], "labeled_per_class": 1 if recipe.data.labeled_per_class else None}
        elif recipe.data.train_split == "unbiased" or recipe.data.eval_split == "test_shuffled":
            one |= {"train_split": "train", "eval_split": "test"}  # the miniature's clips keep no company
        changes["data"] = recipe.data.model_copy(update=one)
    if isinstance(recipe, LocalizationRecipe):
        # A localizer on a start sees and hears what the miniature of that start does.
        on_start = recipe.model.kind == "start"
        sizes = {"size": 2 * PATCH, "resize": 2 * PATCH, "seconds": 0.64} if on_start else {"size": 32, "resize": 36}
        changes["input"] = recipe.input.model_copy(update={"seconds": 0.5, **sizes})
        parts = {"init": start(recipe.model.init), "mels": 16}
        parts |= {"video": eyes_or_ears(recipe.model.video, PATCH), "audio": eyes_or_ears(recipe.model.audio, 16)}
        changes["model"] = small_localizer(recipe.model.model_copy(update=parts))
    if isinstance(recipe, RecognitionRecipe):
        frames = min(recipe.masks.average_frames, FRAMES)
        changes["masks"] = recipe.masks.model_copy(update={"average_frames": frames})
        if recipe.name.startswith("figure"):  # two steps say the same whatever the threshold's value
            changes["thresholds"] = recipe.thresholds.model_copy(update={"value": 0.3})
        if recipe.localizer is not None:
            seconds = 0.64 if recipe.localizer.kind == "start" else 0.5
            changes["localizer"] = recipe.localizer.model_copy(update={"seconds": seconds})
    return recipe.model_copy(update=changes)


def small_segmenter(recipe: SegmentationRecipe, train: dict[str, Any], init: Start | None) -> Recipe:
    """Likewise of a segmentation recipe: the house's backbone, the ear, the demo's smallest frames."""
    # The recipes of the workplace have their default row alone, which may be of another network than the named one.
    named_row = init is not None and init.row is not None
    sizes = {"backbone": "resnet18", "width": 4, "channels": 32, "init": None if named_row else init}
    if recipe.model.kind == "avsegformer":
        sizes |= {"queries": 2, "layers": 1, "ffn": 8, "mask_hidden": 8}
    train |= {"epochs": 2, "batch": 2, "frames": min(recipe.train.frames, 2), "keep": recipe.train.keep}
    if recipe.semi_supervised:
        train["supervised_epochs"] = 0
    one: dict[str, Any] = {"dataset": "demo_segmentation", "manifest": None, "options": {}, "workers": 0}
    one |= {"labeled_share": max(recipe.data.labeled_share, 0.5), "labeled_frames": "first"}
    audio = recipe.audio.model_copy(update={"kind": "none" if recipe.audio.kind == "none" else "ear", "init": None})
    small = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=one),
            # AVSegFormer's batch norms need more than one cell of the last stage.
            "input": recipe.input.model_copy(update={"size": 64}),
            "audio": audio,
            "model": recipe.model.model_copy(update=sizes),
            "flow": recipe.flow.model_copy(update={"init": None}),
            "evaluate": recipe.evaluate.model_copy(update={"frames": 2, "batch": 4}),
            "train": recipe.train.model_copy(update=train),
        }
    )
    return settle(small, (), Path("small"))


def shrunk_events(recipe: EventRepresentationRecipe | EventLocalizationRecipe) -> Recipe:
    small = {"kind": "resnet18", "width": 2, "stride": 16}
    changes: dict[str, Any] = {
        "data": recipe.data.model_copy(
            update={"dataset": "demo_events", "manifest": None, "options": {}, "workers": 0}
        ),
        "frames": recipe.frames.model_copy(update={"size": 32, "resize_to": 32}),
        "audio": AudioNet.model_validate(small),
        "visual": type(recipe.visual).model_validate(small),
        "train": recipe.train.model_copy(update={"epochs": 1, "max_steps": 2, "batch": 4}),
    }
    if isinstance(recipe, EventRepresentationRecipe):
        changes["visual"] = changes["visual"].model_copy(update={"reduce": None if recipe.visual.reduce is None else 4})
        changes["projector"] = recipe.projector.model_copy(update={"sizes": (4, 4)})
        changes |= {"hidden": 2, "probe": recipe.probe.model_copy(update={"epochs": 1})}
    else:
        changes["data"] = changes["data"].model_copy(update={"labeled_clips": None, "split_seed": None})
        changes["model"] = recipe.model.model_copy(update={"dim": 4, "hidden": 4, "out": 4, "head": (4,)})
        changes["features"] = recipe.features.model_copy(update={"maps": "backbones", "row": None})
    return settle(recipe.model_copy(update=changes), (), Path("shrunk"))


def shrunk_parsing(recipe: ParsingRecipe | GroundingRecipe) -> Recipe:
    size = {"dim": 8, "depth": 1, "heads": 2, "hidden": 8}
    sizes: dict[str, Any] = {"transformer": recipe.model.transformer.model_copy(update=size)}
    if isinstance(recipe, ParsingRecipe):
        sizes["dim"] = 8
        features: Any = FeatureNames(noise=recipe.features.noise)
    else:
        features = GroundingFeatures()
    model = recipe.model.model_copy(update=sizes)
    changes: dict[str, Any] = {
        "data": recipe.data.model_copy(update={"dataset": "own", "manifest": "data/own/manifest.csv", "options": {}}),
        "features": features,
        "model": model,
        "train": recipe.train.model_copy(update={"epochs": 1, "max_steps": 2, "batch": 8}),
    }
    return recipe.model_copy(update=changes)


def eyes_or_ears(part: Any, patch: int) -> Any:
    """The miniature of a start's encoder, as its pretext has it."""
    if part is None:
        return None
    sizes = {"dim": 8, "depth": 2, "heads": 2, "patch_size": patch, "embed_hidden": part.embed_hidden and 8}
    return part.model_copy(update=sizes)


def small_localizer(model: Any) -> Any:
    return model.model_copy(update={"dim": 8, "width": 4, "stride": 8})


@pytest.fixture(scope="module")
def workplace(demo: Path, demo_events: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo data set and every recipe in miniature, in which runs stay from test to test."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "recipes").mkdir()
    shutil.copytree(demo, folder / "data" / "demo")  # maps and decoded clips are written into it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asgmcli.synthetic.demo_segmentation.draw_preview", lambda path, _: path.write_bytes(b"blank"))
        segmentation(folder / "data" / "demo_segmentation", train=4, val=1, test=2, size=64, workers=1)
    shutil.copytree(demo_events, folder / "data" / "demo_events")
    write_set(folder / "data" / "own")
    for path in RECIPES:
        (folder / "recipes" / path.name).write_text(dump_yaml(shrunk(load_recipe(path))))
    return folder


def choices(recipe: Recipe) -> set[str]:
    """What decides which code runs: every setting of `recipe` that is no number, a name's own words left out."""
    found = set()

    def look(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                look(f"{key}.{name}", inner)
        elif isinstance(value, bool | str | None):
            found.add(f"{key}={value}")
        else:
            found.add(f"{key}: {'nothing' if value in (0, []) else 'something'}")

    unused = {"name", "default_row", *DESCRIPTIVE_KEYS}
    look(recipe.task, recipe.model_dump(mode="json", exclude=unused))
    return found


def one_a_choice() -> list[tuple[Path, str]]:
    """As few rows as hold every choice that any row makes.

    Pictures of segmentation's several rows are drawn in tests/tasks/segmentation/test_drawing.py, where these rows are.
    """
    recipes = {pair: load_recipe(*pair) for pair in ROWS}
    left = {
        pair: choices(shrunk(recipe)) for pair, recipe in recipes.items() if not isinstance(recipe, SegmentedRecipe)
    }
    open_, chosen = set().union(*left.values()), []
    while open_:
        best = max(left, key=lambda pair: len(left[pair] & open_))
        chosen.append(best)
        open_ -= left[best]
    return chosen


STEPPED = one_a_choice()
QUICK = "table1_kinetics400_1shot-sound"
"""Needs no other run; what else is chosen takes longer, and is looked at by CI with -m long."""


@pytest.mark.parametrize(
    ("path", "row"),
    [
        pytest.param(*pair, id=name, marks=() if name == QUICK else pytest.mark.long)
        for pair, name in zip(STEPPED, named(STEPPED), strict=True)
    ],
)
def test_every_choice_takes_two_steps(path: Path, row: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    recipe = shrunk(load_recipe(path, row))
    small = workplace / "recipes" / f"{path.stem}@{row}.yaml"
    small.write_text(dump_yaml(recipe.model_copy(update={"name": f"{path.stem}_{row}"})))
    result = CliRunner().invoke(command, [str(small), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    if isinstance(recipe, EventFiguresRecipe):
        assert Path(f"runs/{path.stem}_{row}/{row}/seed0/figure.png").exists()
        return
    if isinstance(recipe, MasksRecipe):
        run = Path(f"runs/{path.stem}_{row}/{row}/seed0")
        assert {"masks.png", "masks.svg"} <= {picture.name for picture in run.iterdir()}
        assert found["metrics"]["heat_guided"] > found["metrics"]["heat_tube"]
        return
    if isinstance(recipe, ParsingFigureRecipe):
        assert Path(f"runs/{path.stem}_{row}/{row}/seed0/figure.png").exists()
        return
    assert found["steps"] == 2
    assert found["failures"] == []
    assert found["metrics"]
    metrics = Path(f"runs/{path.stem}_{row}/{row}/seed0/metrics.jsonl")
    lines = [line for line in map(json.loads, metrics.read_text().splitlines()) if "loss" in line]
    assert lines[-1]["step"] == 2
    if isinstance(recipe, RecognitionRecipe) and recipe.semi_supervised:
        weights = {name: getattr(recipe.losses, name).weight for name in ("unlabeled", "mixup", "contrastive")}
        missing = {name for name, weight in weights.items() if weight > 0} - lines[-1].keys()
        assert not missing


# ---- the papers' tables and figures

SHARED = Path(__file__).parents[2] / "shared" / "papers" / "asgm_former_thesis.txt"
COLUMNS = ["ucf51_1", "ucf51_5", "kinetics400_1", "kinetics400_5", "vggsound_1", "vggsound_5"]


def printed(name: str) -> dict[str, float | None]:
    rows = load_recipe(RECIPES[0].parent / f"{name}.yaml").rows
    return {row: values.paper.get("top1") for row, values in rows.items()}


@pytest.mark.skipif(not SHARED.exists(), reason="the thesis is not here")
def test_the_papers_numbers_are_those_of_the_thesis() -> None:
    lines = [line.replace("<b>", "").replace("</b>", "").strip() for line in SHARED.read_text().splitlines()]
    table1 = {}
    for start, row in (
        ("SVFormer [9]\tViT-B\tV\t50\tFix", "svformer_fixed"),
        ("SVFormer [9]\tViT-B\tV\t50\tFlex", "svformer_flexible"),
        ("Ours\tViT-B\tV,A\t50\tFlex", "asgm_former"),
    ):
        (line,) = [line for line in lines if line.startswith(start)]
        table1[row] = [float(cell) for cell in line.split("\t")[6:]]
    for number, column in enumerate(COLUMNS):
        found = printed(f"table1_{column}shot")
        assert found.pop("avclr", None) == (50.1 if column == "ucf51_5" else None)
        assert {row: value for row, value in found.items() if value is not None} == {
            row: values[number] for row, values in table1.items()
        }
    begin = lines.index("Input\tASL Mask\tContrastive\tAccuracy") + 1
    table2 = [float(line.rpartition("\t")[2]) for line in lines[begin : begin + 5]]
    assert [value for value in printed("table2_ablation").values() if value is not None] == table2
    for name, count, row in (("figure4_threshold", 18, "asgm_former_0.3"), ("figure5_frames", 4, "frames1")):
        found = printed(name)
        assert len(found) == count
        assert {key: value for key, value in found.items() if value is not None} == {row: table2[-1]}


def released_forms(recipe: RecognitionRecipe, row: str) -> None:
    """SVFormer's released forms are what the paper's recipes take where nothing is printed (docs/METHOD.md)."""
    views, train = recipe.augment, recipe.train
    assert train.epoch == ("unlabeled" if row.endswith("_long") else "labeled")
    assert (recipe.evaluate.network, recipe.evaluate.starts) == ("student", "exclusive")
    if recipe.semi_supervised:
        assert (train.teacher, train.supervised_epochs) == ("after_warmup", 5)
    if recipe.semi_supervised and recipe.sees:
        assert (views.channels, views.channel_dropout, views.weak_flip) == ("each", 0.2, 0)
        assert views.warp_filler == "random"
    if recipe.sees:
        assert (recipe.model.mean, recipe.model.std) == ((0.45,) * 3, (0.225,) * 3)
    if recipe.guided and recipe.localizer is not None:
        assert (recipe.localizer.picture, recipe.localizer.sound) == ("augmented", "augmented")


@pytest.mark.parametrize("path", [path for path in OF_THE_PAPER if path.stem.startswith("table")], ids=lambda p: p.stem)
def test_controls_and_the_other_counting_of_epochs_stand_without_a_printed_number(path: Path) -> None:
    rows = load_recipe(path).runnable
    printed = [name for name, row in rows.items() if row.paper]
    assert [name for name in rows if name.endswith("_long")] == [f"{name}_long" for name in printed]
    assert {"supervised_video", "supervised", "sound", "tube_beta5"} <= set(rows) - set(printed)
    for name in printed:
        long = {**rows[f"{name}_long"].set}
        assert long.pop("train.epoch") == "unlabeled"
        assert long == rows[name].set
    # The guided rows' own Beta under the tube: what is left between the two is the mask alone.
    guided = load_recipe(path, "guided" if "guided" in rows else "asgm_former")
    tube = load_recipe(path, "tube_beta5")
    assert isinstance(guided, RecognitionRecipe)
    assert isinstance(tube, RecognitionRecipe)
    assert (tube.masks.alpha, tube.masks.beta) == (guided.masks.alpha, guided.masks.beta) == (5, 10)
    assert tube.losses == guided.losses
    assert not tube.guided


@pytest.mark.parametrize("path", [path for path in OF_THE_PAPER if path.stem != "figure3_masks"], ids=lambda p: p.stem)
def test_the_papers_settings(path: Path) -> None:
    for row in load_recipe(path).runnable:
        recipe = load_recipe(path, row)
        assert isinstance(recipe, RecognitionRecipe)
        train, optimizer, losses = recipe.train, recipe.train.optimizer, recipe.losses
        assert (train.epochs, train.batch, train.unlabeled_ratio, train.ema_decay) == (50, 8, 5, 0.99)
        assert (optimizer.kind, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ("sgd", 5e-3, 0.9, 1e-3)
        assert optimizer.milestones == pytest.approx([25 / 30, 28 / 30], abs=1e-6)
        weights = (0, 0) if row.startswith("supervised") else (2, 2)
        assert (losses.unlabeled.weight, losses.mixup.weight, losses.mixup.space) == (*weights, "logits")
        assert losses.contrastive.weight in (0, 0.1)
        alike = recipe.guided or "beta5" in row or not recipe.mixed or not recipe.sees
        assert (recipe.masks.alpha, recipe.masks.beta) == ((5, 10) if alike else (10, 10))
        assert "figure4" in path.stem or recipe.thresholds.value == 0.3
        assert (recipe.clip.frames, recipe.clip.stride, recipe.clip.size, recipe.clip.fps) == (8, 8, 224, 30)
        released_forms(recipe, row)
        assert (recipe.evaluate.clips, recipe.evaluate.crops) == (5, 3)
        assert recipe.data.labeled_per_class == (5 if "5shot" in path.stem else 1)
        encoders = {recipe.sees: recipe.model.video, recipe.listens: recipe.model.audio}
        if recipe.sees and recipe.listens:
            encoders = {True: recipe.model.video, False: recipe.model.audio}
        for encoder in encoders.values() if recipe.sees and recipe.listens else [encoders[True]]:
            assert encoder.init is not None
            assert encoder.init.timm == "vit_base_patch16_224.orig_in21k_ft_in1k"
            assert (encoder.dim, encoder.depth, encoder.heads, encoder.patch_size) == (768, 12, 12, 16)
        assert recipe.cost.startswith("Estimated")
        assert f"asgm prepare {recipe.data.dataset} --root" in path.read_text(encoding="utf-8")
