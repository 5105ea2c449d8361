"""The claim's controls, by hand: what they change, and that the paper's step is none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition.controls import controlled_maps, controlled_share, drawing_maps
from tests.tiny_training import tiny

# Two clips of one frame with two tokens side by side; the first one's sound comes from the left, the other's from
# both, three times as much from the right.
MAPS = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 3.0]]]])
MASK = torch.tensor([[[True, False]], [[True, False]]])
WARP = torch.zeros(2, 1, dtype=torch.long)
PARTNER = torch.tensor([1, 1])


@pytest.fixture
def recipe(demo: Path, tmp_path: Path) -> Any:
    def make(**changes: object) -> RecognitionRecipe:
        return tiny(tmp_path, demo, masks__kind="localization", localizer={"kind": "oracle"}, **changes)

    return make


def test_the_papers_step_knows_no_control(recipe: Any) -> None:
    paper = recipe()
    assert controlled_maps(paper, MAPS, torch.Generator()) is MAPS
    assert controlled_share(paper, MAPS, (1, 2), MASK, WARP, PARTNER) is None
    assert drawing_maps(paper, MAPS, WARP, PARTNER) is MAPS
    assert drawing_maps(recipe(masks__maps="both"), None, WARP, PARTNER) is None


def test_both_clips_maps_are_apart_as_the_partner_is_shown(recipe: Any) -> None:
    # Two clips of two times and two tokens; the partner's second time is shown at both.
    maps = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]], [[[1.0, 0.0]], [[0.0, 1.0]]]])
    found = drawing_maps(recipe(masks__maps="both"), maps, torch.tensor([[0, 1], [1, 1]]), torch.tensor([1, 0]))
    # A's left 1, the partner's right 1; then the partner's left 1 as the first clip is shown.
    assert found is not None
    assert found.tolist() == [[[[1.0, -1.0]], [[1.0, -1.0]]], [[[0.0, 0.0]], [[-1.0, 1.0]]]]


@pytest.mark.parametrize("placebo", ["roll", "shuffle"])
def test_a_placebos_maps_hold_the_same_values_elsewhere(recipe: Any, placebo: str) -> None:
    maps = torch.arange(9.0).view(1, 1, 3, 3)
    moved = controlled_maps(recipe(masks__placebo=placebo), maps, torch.Generator().manual_seed(0))
    assert not torch.equal(moved, maps)
    assert moved.flatten().sort().values.tolist() == maps.flatten().tolist()


def test_a_constant_target_asks_no_map(recipe: Any) -> None:
    constant = recipe(losses__mixup__target="constant", losses__mixup__constant=0.7)
    assert controlled_share(constant, MAPS, (1, 2), MASK, WARP, PARTNER) == 0.7


def test_a_target_by_mass_weighs_what_is_left_of_each_source(recipe: Any) -> None:
    found = controlled_share(recipe(losses__mixup__target="mass"), MAPS, (1, 2), MASK, WARP, PARTNER)
    # A keeps its left, B its right; scaled to 0..1 the first map is all left, the second all right. Both sources of the
    # first mixture are there in full; of the second, of a clip with itself, B alone.
    assert isinstance(found, torch.Tensor)
    assert found.tolist() == pytest.approx([0.5, 0.0], abs=1e-4)
