"""Segmentation's recipes: a row that several tables print is trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.recipe.read import load_recipe, settings_hash
from asgmcli.recipe.segmentation import SegmentationRecipe
from asgmcli.runs.on_demo import load_on_demo

RECIPES = Path(__file__).parents[2] / "recipes"
UFE = ("tpavi_r50_ufe", "tpavi_pvt_ufe", "avsegformer_r50_ufe", "avsegformer_pvt_ufe")
BASES = ("tpavi_r50", "tpavi_pvt", "avsegformer_r50", "avsegformer_pvt")
SHARED = {
    "ufe_table2_s4": {name: name for name in (*UFE, *BASES[2:])},
    "ufe_table2_ms3": {name: name for name in (*UFE, *BASES[2:])},
    "ufe_table4_ms3": {name: name for name in (*UFE, *BASES)},
    "ufe_table5_resnet50": {"none": "tpavi_r50", "nf_df": "tpavi_r50_ufe"},
    "ufe_table5_pvt": {"none": "tpavi_pvt", "nf_df": "tpavi_pvt_ufe"},
    "ufe_table6_burn_in": {"epochs_10": "tpavi_r50_ufe"},
    "ufe_table6_weight": {"weight_0.5": "tpavi_r50_ufe"},
    "ufe_figure1c": {"r50_with_gtm": "tpavi_r50", "r50_ours": "tpavi_r50_ufe", "pvt_ours": "tpavi_pvt_ufe"},
    "ufe_claim_cutmix_sound": {"own": "tpavi_nf_df"},
}


@pytest.mark.parametrize("name", SHARED)
def test_a_row_of_two_tables_has_the_settings_of_the_recipe_whose_runs_count(name: str) -> None:
    path = RECIPES / f"{name}.yaml"
    other = load_recipe(path).runs_of
    assert other is not None
    for row, twin in SHARED[name].items():
        assert settings_hash(load_recipe(path, row)) == settings_hash(load_recipe(RECIPES / f"{other}.yaml", twin)), row


@pytest.mark.parametrize("name", ["ufe_table1_ms3", "ufe_table2_ms3"])
def test_on_the_demo_rows_with_unlabelled_frames_have_some(name: str) -> None:
    path = RECIPES / f"{name}.yaml"
    rows = [load_on_demo(path, row) for row in load_recipe(path).runnable]
    assert any(row.semi_supervised for row in rows if isinstance(row, SegmentationRecipe))
    for row in rows:
        assert isinstance(row, SegmentationRecipe)
        assert row.data.labeled_frames == "first"
