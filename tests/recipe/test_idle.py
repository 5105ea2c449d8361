"""Every key changes a run, or an error says why it would not; what is idle in a row has its default there."""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from asgmcli.errors import RecipeError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.idle import settle
from asgmcli.recipe.models import MODELS, section_of
from asgmcli.recipe.read import DESCRIPTIVE_KEYS, MACHINE_KEYS, dump_yaml, load_recipe, recipe_hash
from asgmcli.recipe.shipped import shipped

STEPS = ("train.optimizer.schedule=steps",)
COSINE = ("train.optimizer.kind=lars", "train.optimizer.schedule=cosine")
EPOCHS = ("train.optimizer.schedule=epochs",)
ROWS: list[tuple[str, str, tuple[str, ...]]] = [
    ("demo", "supervised_video", ()),
    ("demo", "svformer_fixed", STEPS),
    ("demo", "asgm_former", ()),
    ("demo", "asgm_former", ("losses.unlabeled.labels=soft",)),
    ("table2_ablation", "asgm_former", ()),
    ("claim_companions", "true_tokens", ()),
    ("claim_companions", "control", ()),
    ("claim_labeled", "guided_mass", ()),
    ("demo_localizer", "fnac", STEPS),
    ("localizer_flickr10k", "fnac", ()),
    ("demo_pretext", "start", STEPS),
    ("demo_localizer_pretext", "start", ()),
    ("demo_eyes", "start", ()),
    ("demo_ears", "start", ()),
    ("demo_source", "start", ()),
    ("ufe_demo", "tpavi_nf_df", STEPS),
    ("ufe_table5_resnet50", "none", ()),
    ("ufe_table5_resnet50", "as_released", ("data.labeled_share=0.5", "model.backbone=resnet18")),
    ("ufe_table1_ms3", "avsegformer_r50_ufe", ()),
    ("ufe_figure3", "masks", ()),
    ("figure3_masks", "fnac", ()),
    ("figure3_masks", "motion", ()),
    ("event_demo_start", "start", STEPS),
    ("event_table5", "none", ()),
    ("event_table2", "avbt", ("visual.kind=resnet18", "audio.kind=resnet18")),
    ("event_demo_avbt", "avbt", STEPS),
    ("event_demo_avbt", "random", EPOCHS),
    ("event_demo", "supervised_avbt", ()),
    ("event_table3", "tacma", ()),
    ("event_table3", "psp", ()),
    ("event_table3", "avel", ("features.maps=backbones",)),
    ("event_demo", "supervised", (*COSINE, "model.init={file: encoder.safetensors}", "data.labeled_clips=9")),
    ("event_weak", "tacma", EPOCHS),
    ("event_ablation_tacma", "raw", STEPS),
    ("event_demo_figure", "timeline", ()),
    ("event_demo_figure", "features", ()),
    *(
        (name, row, own)
        for own in (COSINE, EPOCHS)
        for name, row in (
            ("demo", "asgm_former"),
            ("demo_localizer", "fnac"),
            ("demo_pretext", "start"),
            ("parsing_demo", "base"),
            ("ufe_demo", "tpavi_sound"),
            ("llp_grounding_multi", "multi"),
        )
    ),
    ("parsing_demo", "adv_skip_gcaa", STEPS),
    ("parsing_demo", "adv_skip_gcaa", ("model.init={recipe: demo}",)),
    ("parsing_demo", "han", ()),
    ("llp_grounding_multi", "multi", STEPS),
    ("parsing_demo", "base", ("model.kind=grounding", "model.init={recipe: demo}")),
]
"""Rows of every kind, some with settings of their own."""
DECIDE_NOTHING = {*DESCRIPTIVE_KEYS, *(f"{section}.{key}" for section, keys in MACHINE_KEYS.items() for key in keys)}
TABLE = ("name", "task", "default_row", *DESCRIPTIVE_KEYS)
WITH = {
    "localizer.kind": ["localizer.recipe=null"],
    "model.video.patch_size": ["model.video.stem=patches"],
    "model.video.embed_hidden": ["model.video.stem=patches"],
    "model.kind": ["model.video=null", "model.audio=null"],
    "model.video.stem": ["model.video.patch_size=8", "model.video.tubelet=1", "model.video.embed_hidden=null"],
    "audio.mean": ["audio.std=2.0"],
    "audio.std": ["audio.mean=-3.0"],
    "localizer.file": ["localizer.recipe=null", "localizer.seed=null"],
    "model.video.dim": ["model.audio.dim=128"],
    "model.audio.dim": ["model.video.dim=128"],
    "evaluate.manifest": ["evaluate.dataset=vggss"],
    "visual.init.file": ["visual.init.timm=null", "visual.init.recipe=null"],
    "visual.init.recipe": ["visual.init.timm=null"],
    "visual.init.timm": ["visual.init.recipe=null"],
    **{
        f"model.{part}init.file": [f"model.{part}init.recipe=null", f"model.{part}init.timm=null"]
        for part in ("", "video.", "audio.")
    },
    **{f"model.{part}init.timm": [f"model.{part}init.recipe=null"] for part in ("", "video.", "audio.")},
    **{f"model.{part}init.recipe": [f"model.{part}init.timm=null"] for part in ("", "video.", "audio.")},
}
"""What must change with a key, because the two go together."""


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its annotation, but for the recipe's words."""
    for name, info in model.model_fields.items():
        if not prefix and name in TABLE:
            continue
        section = section_of(info.annotation)
        if section is None:
            yield f"{prefix}{name}", info.annotation
        else:
            yield from leaves(section, f"{prefix}{name}.")


def value_of(recipe: Recipe, dotted: str) -> Any:
    return functools.reduce(lambda value, part: getattr(value, part, None), dotted.split("."), recipe)  # type: ignore


def has(recipe: Recipe, dotted: str) -> bool:
    """Whether the recipe's class knows a key, where its section is there to ask."""
    section = value_of(recipe, dotted.rpartition(".")[0])
    return section is None or dotted.rpartition(".")[2] in type(section).model_fields


def literals(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    else:
        for part in typing.get_args(annotation):
            yield from literals(part)


def others(value: Any, annotation: Any) -> Iterator[str]:
    """Values that a key may have instead, likely ones first."""
    yield from (json.dumps(choice) for choice in literals(annotation) if choice != value)
    if isinstance(value, bool):
        yield json.dumps(not value)
    elif isinstance(value, int | float):
        changed = (2 * value, value + 1, value / 2, value - 16, value - 1, value * 0.9, 0, 1)
        yield from (json.dumps(number) for number in changed if number != value)
    elif isinstance(value, tuple | list):
        yield from ("[0.25]", "[val]", json.dumps([part + 6 for part in value if not isinstance(part, str)]))
    elif isinstance(value, dict):
        yield "{seed: 8}"
    yield from ("other", "3", "0.7")


def flip(name: str, row: str, own: tuple[str, ...], key: str, annotation: Any) -> str:
    """What another value at `key` does: `changes`, `nothing`, `idle`, or `fault` where every value is refused."""
    recipe = written(name, row, own)
    answer = "fault"
    for text in others(value_of(recipe, key), annotation):
        try:
            beside = [other for other in WITH.get(key, ()) if has(recipe, other.partition("=")[0])]
            changed = load_recipe(shipped()[name], row, (*own, f"{key}={text}", *beside))
        except RecipeError as error:
            if f"{key} does nothing" in error.message:
                return "idle"
            continue
        answer = "nothing" if recipe_hash(changed) == recipe_hash(recipe) else "changes"
        break
    return answer


@functools.cache
def written(name: str, row: str, own: tuple[str, ...] = ()) -> Recipe:
    return load_recipe(shipped()[name], row, own)


def test_every_key_changes_the_run_or_is_refused() -> None:
    does: dict[tuple[str, str], set[str]] = {}
    for name, row, own in ROWS:
        task = written(name, row).task
        for key, annotation in leaves(MODELS[task]):
            answer = flip(name, row, own, key, annotation)
            assert answer != "nothing" or key in DECIDE_NOTHING, (name, row, key)
            does.setdefault((task, key), set()).add(answer)
    dead = sorted(key for key, answers in does.items() if not answers & {"changes"} and key[1] not in DECIDE_NOTHING)
    assert not dead, "no value of these changes a run of any row"


TEXT = """
task: recognition
title: Example
default_row: full
rows:
  full: {title: full}
  tube: {title: tube, set: {masks.kind: tube, losses.contrastive.weight: 0.0}}
  fixed: {title: fixed, set: {thresholds.kind: fixed}}
  block: {title: block, set: {masks.kind: block}}
  none: {title: none, set: {thresholds.kind: none}}
  wrong: {title: wrong, set: {masks.kind: tube, masks.placebo: roll}}
data: {dataset: demo, labeled_per_class: 5}
localizer: {recipe: other}
masks: {sharpness: 4.0, average_frames: 2}
thresholds: {mapping: convex, warmup: true}
losses: {contrastive: {temperature: 0.2}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "example.yaml").write_text(TEXT)
    return tmp_path / "example.yaml"


def test_what_the_file_gives_for_other_rows_is_at_its_default(path: Path) -> None:
    tube, full = load_recipe(path, "tube"), load_recipe(path)
    assert [value_of(full, key) for key in ("masks.sharpness", "losses.contrastive.temperature")] == [4.0, 0.2]
    assert [value_of(tube, key) for key in ("masks.sharpness", "losses.contrastive.temperature")] == [1.0, 0.05]
    assert value_of(tube, "localizer") is None
    assert value_of(tube, "thresholds.mapping") == "convex"
    assert value_of(load_recipe(path, "fixed"), "thresholds.mapping") == "linear"
    # Whatever the file gives for others, the row is the same.
    path.write_text(TEXT.replace("sharpness: 4.0", "sharpness: 2.0").replace("0.2}", "0.3}"))
    assert recipe_hash(load_recipe(path, "tube")) == recipe_hash(tube)
    assert recipe_hash(load_recipe(path)) != recipe_hash(full)


def test_an_override_sees_the_files_values_again(path: Path) -> None:
    recipe = load_recipe(path, "tube", ("masks.kind=localization",))
    assert value_of(recipe, "masks.sharpness") == 4.0
    assert value_of(recipe, "localizer.recipe") == "other"
    # A key of the row's own may be idle beside an override.
    assert value_of(load_recipe(path, "fixed", ("train.unlabeled_ratio=0",)), "thresholds.kind") == "flexible"


@pytest.mark.parametrize(
    ("row", "overrides", "words"),
    [
        ("tube", ("masks.sharpness=2.0",), "masks.sharpness does nothing in row 'tube', where masks.kind is tube"),
        ("tube", ("localizer={kind: motion}",), "localizer.kind does nothing"),
        ("fixed", ("thresholds.warmup=true",), "thresholds.warmup does nothing in row 'fixed', where thresholds.kind"),
        ("block", ("masks.maps=both",), "masks.maps does nothing in row 'block', where masks.kind is block"),
        (
            "none",
            ("thresholds.value=0.5",),
            "thresholds.value does nothing in row 'none', where thresholds.kind is none",
        ),
        ("full", ("losses.unlabeled.temperature=0.5",), "where losses.unlabeled.labels is sharp"),
        ("full", ("losses.mixup.weight=0.0", "losses.contrastive.clips=unmixed"), "losses.mixup.weight is 0"),
        ("full", ("losses.mixup.constant=0.5",), "where losses.mixup.target is tokens"),
        ("full", ("train.optimizer={schedule: constant, gamma: 0.5}",), "train.optimizer.schedule is constant"),
        ("tube", ("model.modality=video", "audio.seconds=2.0"), "audio.seconds does nothing"),
        ("wrong", (), "rows.wrong.set: masks.placebo does nothing"),
    ],
)
def test_an_idle_key_that_is_asked_for_is_refused(path: Path, row: str, overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, row, overrides)
    assert caught.value.exit_code == 2
    assert words in caught.value.message
    assert "leave it out" in caught.value.message


def test_null_asks_for_nothing(path: Path) -> None:
    assert value_of(load_recipe(path, "tube", ("localizer=null",)), "localizer") is None


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_rows_are_settled_and_read_back_the_same(name: str, every: bool, tmp_path: Path) -> None:
    first = load_recipe(shipped()[name])
    for recipe in map(functools.partial(written, name), first.runnable) if every else [first]:
        assert settle(recipe, (), tmp_path) == recipe
        (tmp_path / "stored.yaml").write_text(dump_yaml(recipe))
        assert recipe_hash(load_recipe(tmp_path / "stored.yaml", stored=True)) == recipe_hash(recipe)
