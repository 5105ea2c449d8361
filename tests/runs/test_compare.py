"""Rows against one of them: which runs are paired, and what is told of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from asgmcli.bench.made_up import made_up_state
from asgmcli.errors import DataError, RecipeError
from asgmcli.metrics.paired import paired_difference
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import dump_yaml, load_recipe, recipe_hash
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.report.differences import Interval, Panel, difference_curves, difference_intervals
from asgmcli.runs.compare import compare, difference_table, write_differences
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.tasks import recognition
from asgmcli.train.run import differences
from tests.tiny_training import TEXT

COMPARED = TEXT.replace(
    "data: {", "compare: {to: [video], metrics: [top1, top1_shuffled]}\ndata: {split_seed: 1, ", 1
).replace("  video: {title", "  half: {title: half of it}\n  video: {title", 1)
CURVED = """default_row: mass_70
rows:
  tube_10: {title: tube at .1, curve: tube, set: {thresholds.value: 0.1}}
  tube_70: {title: tube at .7, curve: tube, set: {thresholds.value: 0.7}}
  mass_10: {title: mass at .1, curve: mass, set: {thresholds.value: 0.1}}
  mass_70: {title: mass at .7, curve: mass, set: {thresholds.value: 0.7}}
figure: {key: thresholds.value, label: threshold}
compare: {to: [tube], metrics: [top1, top1_shuffled]}
"""


def recipe_file(folder: Path, text: str) -> RecipeFile:
    path = folder / "tiny.yaml"
    path.write_text(text)
    return RecipeFile(path)


def recipe(folder: Path, text: str) -> Recipe:
    return recipe_file(folder, text).load()


def runs(row: str, **metrics: dict[int, float]) -> list[dict[str, Any]]:
    """Results of `row`, each metric by seed."""
    seeds = sorted({seed for values in metrics.values() for seed in values})
    return [
        {"row": row, "seed": s, "metrics": {name: values[s] for name, values in metrics.items() if s in values}}
        for s in seeds
    ]


def test_only_seeds_of_both_rows_are_paired(tmp_path: Path) -> None:
    results = runs("full", top1={0: 12.0, 1: 15.0, 2: 90.0}, top1_shuffled={0: 3.0, 1: 1.0})
    results += runs("video", top1={0: 10.0, 1: 16.0, 5: 0.0}, top1_shuffled={0: 1.0, 1: 2.0})
    found = compare(recipe(tmp_path, COMPARED), results, "video")
    assert [(one.metric, one.row) for one in found] == [
        ("top1", "full"),
        ("top1", "video"),
        ("top1_shuffled", "full"),
        ("top1_shuffled", "video"),
    ]
    main = found[0].paired
    assert main is not None
    # +2 and -1: mean 1/2, deviation 3 / sqrt 2, standard error 3/2; t(.975) of one degree of freedom is 12.706.
    assert main.mean == 0.5
    assert main.error == pytest.approx(1.5)
    assert main.high == pytest.approx(0.5 + 12.706 * 1.5, abs=1e-3)
    assert (main.wins, main.pairs) == (1, 2)
    assert found[1].paired is None
    assert found[0].values == {0: 12.0, 1: 15.0, 2: 90.0}


def test_the_table_has_a_line_a_row_that_was_run(tmp_path: Path) -> None:
    results = runs("full", top1={0: 12.0, 1: 15.0}, top1_shuffled={0: 3.0}) + runs("video", top1={0: 10.0, 1: 16.0})
    subject = recipe(tmp_path, COMPARED)
    table = difference_table(subject, compare(subject, results, "video"), "video")
    assert table.title == "Tiny: against picture"
    assert table.columns[:6] == ["row", "seeds", "top1", "difference ± s.e.", "95% interval", "wins"]
    assert table.rows == [
        ["sound and picture", 2, "13.5 ± 2.1", "+0.5 ± 1.5", "[-18.6, +19.6]", "1 of 2", "3.0", None, None, None],
        ["picture", 2, "13.0 ± 4.2", None, None, None, None, None, None, None],
    ]
    assert table.bold == {0}
    one = compare(subject, runs("full", top1={0: 12.0}) + runs("video", top1={0: 10.0}), "video")
    assert difference_table(subject, one, "video").rows[0][3:6] == ["+2.0", None, "1 of 1"]


@pytest.mark.pictures
def test_points_of_a_curve_are_measured_at_their_place(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, re.sub(r"default_row: .*?(?=data:)", CURVED, TEXT, flags=re.DOTALL))
    subject = file.load()
    levels = {"tube_10": 10.0, "tube_70": 40.0, "mass_10": 11.0, "mass_70": 60.0}
    results = [result for row, top in levels.items() for result in runs(row, top1={0: top, 1: top + 1})]
    places = {"tube_10": 0.1, "tube_70": 0.7, "mass_10": 0.1, "mass_70": 0.7}
    found = {one.row: one.paired for one in compare(subject, results, "tube", places)}
    assert found["tube_10"] is None
    assert found["mass_10"] == paired_difference([11.0, 12.0], [10.0, 11.0])
    assert found["mass_70"] == paired_difference([60.0, 61.0], [40.0, 41.0])
    tables, paths = write_differences(tmp_path / "out", file, subject, results)
    assert [path.name for path in paths] == ["against_tube.md", "against_tube.csv", "against_tube.png"]
    assert tables[0].title == "Tiny: against tube"
    assert "+20.0 ± 0.0" in paths[0].read_text()
    with Image.open(paths[2]) as image:
        assert image.width > 1000


def test_nothing_is_written_where_nothing_can_be_compared(tmp_path: Path) -> None:
    for text in (COMPARED, TEXT):
        file = recipe_file(tmp_path, text)
        assert write_differences(tmp_path / "out", file, file.load(), runs("full", top1={0: 1.0})) == ([], [])
    assert not (tmp_path / "out").exists()


def test_wrong_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"compare\.to: tubes: no row that can be run"):
        recipe(tmp_path, COMPARED.replace("to: [video]", "to: [tubes]"))
    curved = re.sub(r"default_row: .*?(?=data:)", CURVED.replace("[tube]", "[tube_10]"), TEXT, flags=re.DOTALL)
    with pytest.raises(RecipeError, match=r"compare\.to: tube_10: no row's curve"):
        recipe(tmp_path, curved)


def test_how_rows_are_compared_does_not_make_other_runs(tmp_path: Path) -> None:
    subject = recipe(tmp_path, COMPARED)
    stored = tmp_path / "stored.yaml"
    stored.write_text(dump_yaml(subject))  # of one row: the rows it is compared to are not there
    other = subject.model_copy(update={"compare": None})
    assert differences(load_recipe(stored), subject) == []
    assert recipe_hash(other) == recipe_hash(subject)


@pytest.mark.pictures
def test_pictures_show_what_there_is_and_refuse_nothing(tmp_path: Path) -> None:
    rows = {"tube": [Interval(0.4)], "guided": [Interval(11.2, 9.0, 13.4, main=True)]}
    first = difference_intervals([Panel("top1", rows)], tmp_path / "a.png", label="percent", title="One")
    second = difference_intervals([Panel("top1", rows)], tmp_path / "b.png", label="percent", title="One")
    assert first.read_bytes() == second.read_bytes()
    curve = {
        "guided": [Interval(1.0, 0.0, 2.0, 0.7), Interval(0.0, -1.0, 1.0, 0.1)],
        "tube": [Interval(0.0, place=0.4)],
    }
    path = difference_curves([Panel("top1", curve), Panel("other", curve)], tmp_path / "c.png", label="x", axis="y")
    with Image.open(path) as image:
        assert image.width > 1000
    with pytest.raises(DataError, match="no two rows"):
        difference_intervals([Panel("top1", {})], tmp_path / "none.png", label="percent")
    with pytest.raises(DataError, match="no two rows"):
        difference_curves([Panel("top1", {})], tmp_path / "none.png", label="percent", axis="bias")
    assert not (tmp_path / "none.png").exists()


def test_weights_of_a_row_that_is_compared_can_be_used_alone(tmp_path: Path) -> None:
    subject = recipe(tmp_path, COMPARED)
    assert isinstance(subject, RecognitionRecipe)
    made_up_state(subject, 5, torch.device("cpu")).export(tmp_path)
    path = tmp_path / "model.safetensors"
    assert recognition.load(path, None, torch.device("cpu")).recipe.default_row == subject.default_row
