from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.errors import RecipeError
from asgmcli.media.audio import log_mel
from asgmcli.prepare.source import manifest_path
from asgmcli.recipe.clips import Audio
from asgmcli.recipe.read import dump_yaml, load_recipe, recipe_hash
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.sections import MaskGuide, Start

GOOD = """
task: recognition
title: Example
default_row: full
rows:
  full: {title: the full method, paper: {top1: 62.5}}
  short: {title: a short one, set: {train.epochs: 7, train.optimizer.lr: 2e-3, masks.kind: tube}}
data: {dataset: demo, labeled_per_class: 5}
localizer: {recipe: other}
train: {epochs: 3, supervised_epochs: 1, optimizer: {lr: 1e-3}}
losses: {mixup: {space: probabilities}}
"""


def write(folder: Path, text: str = GOOD) -> Path:
    path = folder / "example.yaml"
    path.write_text(text)
    return path


def load(folder: Path, *arguments: object, text: str = GOOD) -> RecognitionRecipe:
    recipe = load_recipe(write(folder, text), *arguments)  # type: ignore[arg-type]
    assert isinstance(recipe, RecognitionRecipe)
    return recipe


def fault(folder: Path, text: str, *arguments: object) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(folder, text), *arguments)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return caught.value.message


def test_values_defaults_and_name(tmp_path: Path) -> None:
    recipe = load(tmp_path)
    assert (recipe.name, recipe.train.epochs, recipe.train.optimizer.lr) == ("example", 3, 0.001)
    assert recipe.losses.mixup.space == "probabilities"
    assert recipe.losses.mixup.weight == 2.0
    assert recipe.model.video.dim == 768
    assert recipe.rows["full"].paper == {"top1": 62.5}


def test_set_wins_over_the_row_and_the_row_over_the_file(tmp_path: Path) -> None:
    short = load(tmp_path, "short")
    found = (short.default_row, short.train.epochs, short.train.optimizer.lr, short.masks.kind)
    assert found == ("short", 7, 2e-3, "tube")
    assert short.train.optimizer.momentum == 0.9
    set_by_hand = load(tmp_path, "short", ("train.epochs=9", "train.optimizer.milestones=[0.5, 1e-1]"), 4)
    assert (set_by_hand.train.epochs, set_by_hand.train.optimizer.lr, set_by_hand.seed) == (9, 2e-3, 4)
    assert set_by_hand.train.optimizer.milestones == [0.5, 0.1]


@pytest.mark.parametrize(
    ("written", "value"), [("1e-3", 0.001), ("2E4", 2e4), ("1.5e+1", 15.0), ("3", 3.0), (".5", 0.5)]
)
def test_numbers_may_be_written_with_an_exponent(tmp_path: Path, written: str, value: float) -> None:
    assert load(tmp_path, None, (f"train.save_minutes={written}",)).train.save_minutes == value


def test_every_fault_is_told_at_once_with_value_and_nearest_key(tmp_path: Path) -> None:
    text = GOOD.replace("{epochs: 3,", "{epocs: 3, batch: 0,").replace("dataset: demo,", "dataset: 5,")
    message = fault(tmp_path, text + "clip: {frames: eight}\nmodle: {}\nseed: .inf\n")
    lines = message.splitlines()
    assert lines[0].startswith(str(tmp_path / "example.yaml"))
    assert "6 fault" in lines[0]
    assert "train.epocs: unknown key (did you mean 'epochs'?)" in message
    assert "modle: unknown key (did you mean 'model'?)" in message
    assert "train.batch = 0: input should be greater than 0" in message
    assert "data.dataset = 5: " in message
    assert "clip.frames = 'eight': " in message
    assert "seed = inf: " in message


def test_a_row_named_like_a_task_is_named_in_full(tmp_path: Path) -> None:
    text = GOOD.replace("  short: {title: a short one,", "  localization: {titel: x,")
    message = fault(tmp_path, text)
    assert "rows.localization.titel: unknown key (did you mean 'title'?)" in message
    assert "rows.localization.title: missing" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.supervised_epochs=3", "leaves none of train.epochs 3 for the unlabelled clips"),
        ("localizer=null", "needs a localizer"),
        ("losses.mixup.labels=given", "losses.mixup.labels given needs labels: set data.unlabeled to labeled"),
        ("localizer.file=x", "exactly one of recipe, file"),
        ("localizer={kind: motion, file: other.pth}", "kind motion has no weights"),
        ("localizer={kind: ears}", "fnac"),
        ("localizer.recipe=../x", "should match pattern"),
        ("model.modality=video", r"losses.contrastive.weight needs sound"),
        ("model.video.heads=7", "dim 768 is not a multiple of heads 7"),
        ("model.fusion.heads=7", "fusion.heads 7 does not divide"),
        ("model.audio.dim=384", "must equal model.audio.dim"),
        ("model.video.drop_path=1.0", "less than 1"),
        ("model.video.init={recipe: a, timm: b}", "exactly one of recipe, file, timm"),
        ("clip.size=100", "not a multiple of model.video.patch_size"),
        ("clip.short_side=[100, 200]", "size <= low <= high"),
        ("audio.mels=100", "audio.mels 100 is not a multiple"),
        ("model.audio.patch_size=32", "not a multiple of model.audio.patch_size 32"),
        ("masks.average_frames=3", "masks.average_frames = 3"),
        ("masks.average_frames=16", "masks.average_frames = 16"),
        ("model.video.tubelet=3", "clip.frames 8 is not a multiple of model.video.tubelet 3"),
        ("model.audio.tubelet=2", "model.audio.tubelet: unknown key"),
        ("audio.mean=-5.0", "both mean and std"),
        ("data={dataset: demo, keep_decoded: true, workers: 2}", "set workers to 0"),
        ("data.eval_split=te st", "data.eval_split = 'te st'"),
        ("thresholds.value=0", "greater than 0"),
        ("train.optimizer.momentum=1", "less than 1"),
        ("losses.contrastive.weight=.nan", "finite"),
        ("seed=-1", "greater than or equal to 0"),
        ("name=..", "should match pattern"),
        ("train=5", "train = 5"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, change: str, words: str) -> None:
    assert words in fault(tmp_path, GOOD, None, (change,))


def test_mass_needs_a_map_to_be_measured_on(tmp_path: Path) -> None:
    change = ("losses.mixup.target=mass",)
    assert load(tmp_path, None, change).losses.mixup.target == "mass"
    assert "masks.kind to localization" in fault(tmp_path, GOOD, "short", change)
    idle = fault(tmp_path, GOOD, "short", (*change, "losses.mixup.weight=0.0"))
    assert "losses.mixup.target does nothing in row 'short', where losses.mixup.weight is 0" in idle


def test_faults_between_sections_are_told_together(tmp_path: Path) -> None:
    message = fault(tmp_path, GOOD, None, ("clip.size=100", "audio.mels=100", "localizer=null"))
    assert all(word in message for word in ("patch_size", "audio.mels", "needs a localizer"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("task: recognition", "task: recogniton"), "did you mean 'recognition'?"),
        (GOOD.replace("task: recognition", ""), "is not a task"),
        (
            GOOD.replace("default_row: full", "default_row: fall"),
            "no row 'fall' (did you mean 'full'?). Rows: full, short",
        ),
        (GOOD.replace("set: {train.epochs: 7,", "set: [7], about: {"), "rows.short.about: unknown key"),
        (GOOD.replace("{title: the full method, paper: {top1: 62.5}}", "{title: x, set: 3}"), "rows.full.set = 3"),
        (GOOD.replace("full:", "all:").replace("row: full", "row: all"), "cannot be named 'all'"),
        (GOOD.replace("full:", "../full:").replace("row: full", "row: ../full"), "rows.../full"),
        (GOOD + "train: {epochs: 4}\n", "train: given twice"),
        (GOOD + "about: &a [1]\nseed: *a\n", "aliases (*a) are not allowed"),
        (GOOD + "about: !!python/object/apply:os.system ['touch HERE']\n", "not valid YAML"),
        (GOOD + "about: !!python/name:os.system\n", "not valid YAML"),
        (GOOD + "about: 2020-13-45\n", "not valid YAML"),
        (GOOD + "seed: 0x" + "f" * 5000 + "\n", "seed = a number of thousands of digits"),
        (GOOD + "about: " + "[" * 3000 + "\n", "not valid YAML"),
        ("- task\n", "a recipe is a mapping"),
        ("", "a recipe is a mapping"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in fault(tmp_path, text)
    assert [path.name for path in tmp_path.iterdir()] == ["example.yaml"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(RecipeError, match=r"no such recipe \(did you mean '.*/example.yaml'\?\)"):
        load_recipe(tmp_path / "exmple.yaml")
    with pytest.raises(RecipeError, match="not a regular file but a folder"):
        load_recipe(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read as text"):
        load_recipe(tmp_path / "bytes.yaml")
    (tmp_path / "long.yaml").write_text("#" * (1 << 20) + "\n")
    with pytest.raises(RecipeError, match="larger than"):
        load_recipe(tmp_path / "long.yaml")


@pytest.mark.parametrize("override", ["train.epochs", "=3", "train.epochs=[", "train.=3", "train.epochs=*a"])
def test_overrides_that_say_nothing(tmp_path: Path, override: str) -> None:
    assert override.partition("=")[0] in fault(tmp_path, GOOD, None, (override,))


@pytest.mark.parametrize("override", ["default_row=one", "rows.one.set={seed: 3}"])
def test_rows_are_not_overridden(tmp_path: Path, override: str) -> None:
    assert "--row" in fault(tmp_path, GOOD, None, (override,))


@pytest.mark.parametrize("title", ["1e5", "on", "no", "~", "3", "a: b", "- #", "ü\u2028\n", "'\""])
def test_a_dumped_recipe_reads_back_the_same(tmp_path: Path, title: str) -> None:
    recipe = load(tmp_path, "short", ("train.epochs=9", "train.optimizer.lr=1e-7"), 3)
    recipe = recipe.model_copy(update={"title": title})
    (tmp_path / "dumped.yaml").write_text(dump_yaml(recipe))
    again = load_recipe(tmp_path / "dumped.yaml")
    assert again.model_copy(update={"rows": recipe.rows}) == recipe
    assert list(again.rows) == ["short"]
    assert recipe_hash(again) == recipe_hash(recipe)
    assert dump_yaml(again) == dump_yaml(recipe)


def test_the_hash_tells_settings_apart_and_leaves_words_out(tmp_path: Path) -> None:
    recipe = load(tmp_path)
    assert recipe_hash(recipe) == recipe_hash(load(tmp_path, text=GOOD.replace("Example", "Other")))
    means = ("data.workers=3", "train.cores=1", "train.save_minutes=2")
    assert recipe_hash(recipe) == recipe_hash(load(tmp_path, None, means))
    others = [load(tmp_path, None, (change,)) for change in ("train.epochs=4", "seed=1", "masks.average_frames=2")]
    assert len({recipe_hash(other) for other in [recipe, load(tmp_path, "short"), *others]}) == 5


def test_which_rows_look_at_unlabelled_clips(tmp_path: Path) -> None:
    none = ("losses.unlabeled.weight=0", "losses.mixup.weight=0", "losses.contrastive.weight=0")
    assert load(tmp_path).semi_supervised
    assert load(tmp_path).guided
    assert not load(tmp_path, None, none).semi_supervised
    assert not load(tmp_path, None, ("train.unlabeled_ratio=0",)).guided
    for kept in range(3):
        weights = tuple(text for index, text in enumerate(none) if index != kept)
        recipe = load(tmp_path, None, weights)
        assert recipe.semi_supervised
        assert recipe.guided == (kept == 1)
    assert not load(tmp_path, "short").guided


@pytest.mark.parametrize("seconds", [0.005, 0.16, 0.1601, 1, 2.013, 4.0, 4.001])
def test_the_length_of_the_log_mel_is_known_beforehand(seconds: float) -> None:
    import torch

    assert Audio(seconds=seconds).length == len(log_mel(torch.zeros(round(seconds * 16000)), mels=16))


def test_seed_run_is_the_seed_of_the_run_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "seeds.yaml"
    path.write_text(
        "task: recognition\ntitle: Seeds\ndefault_row: one\nrows: {one: {title: one}}\n"
        "data: {dataset: demo, options: {companions: 0.9, seed: run}}\n"
        "model: {video: {init: {recipe: demo_pretext, seed: run}}, audio: {init: {recipe: demo_pretext, seed: 3}}}\n"
        "localizer: {recipe: demo_localizer, seed: run}\n"
    )
    recipe = load_recipe(path, seed=6)
    assert isinstance(recipe, RecognitionRecipe)
    assert recipe.data.options["seed"] == 6
    assert manifest_path(recipe.data) == Path("data/demo_companions0.9_seed6/manifest.csv")
    assert recipe.model.video.init == Start(recipe="demo_pretext", seed=6)
    assert recipe.model.audio.init == Start(recipe="demo_pretext", seed=3)
    assert recipe.localizer == MaskGuide(recipe="demo_localizer", seed=6)
    stored = tmp_path / "stored.yaml"
    stored.write_text(dump_yaml(recipe))
    assert load_recipe(stored).model_dump(exclude={"rows"}) == recipe.model_dump(exclude={"rows"})
    assert load_recipe(path).model_dump()["data"]["options"]["seed"] == 0


@pytest.mark.parametrize("section", ["localizer: {kind: motion, seed: 1}", "localizer: {file: a.pth, seed: 1}"])
def test_a_seed_without_a_recipe_is_told(tmp_path: Path, section: str) -> None:
    path = tmp_path / "seeds.yaml"
    head = "task: recognition\ntitle: Seeds\ndefault_row: one\nrows: {one: {title: one}}\ndata: {dataset: demo}\n"
    path.write_text(head + section)
    with pytest.raises(RecipeError, match="seed and row go with recipe"):
        load_recipe(path)


NEAREST = {
    "demo": {
        "epochs=3": "'train.epochs'",
        "batch=3": "'train.batch' or 'evaluate.batch'",
        "mixup.weight=3": "'losses.mixup'",
        "video.dim=8": "'model.video'",
        "dpth=3": "'model.video.depth' or 'model.audio.depth'",
        "model.video.dept=3": "'depth'",
        "train.epchs=3": "'epochs'",
    },
    "demo_localizer": {"stride=8": "'model.stride'", "temprature=1.0": "'losses.temperature'"},
    "demo_pretext": {"still_share=0.5": "'generated.still_share'", "time_mask=3": "'augment.time_mask'"},
    "figure3_masks": {"number=3": "'example.number'", "recipe=other": "'localizer.recipe'"},
}


@pytest.mark.parametrize("name", NEAREST)
def test_a_key_without_its_section_is_answered_with_its_place(name: str) -> None:
    path = Path(__file__).parents[2] / "recipes" / f"{name}.yaml"
    for override, meant in NEAREST[name].items():
        with pytest.raises(RecipeError) as caught:
            load_recipe(path, None, (override,))
        assert f"unknown key (did you mean {meant}?)" in caught.value.message
    with pytest.raises(RecipeError, match=r"xyzzy: unknown key$"):
        load_recipe(path, None, ("xyzzy=1",))
