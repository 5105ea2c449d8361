"""Steps of the paper's tables under both countings of an epoch, and where warm-up, milestones and status then lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asgmcli.data.size import Size
from asgmcli.errors import DataError
from asgmcli.losses.flexmatch import FlexibleThreshold
from asgmcli.prepare.datasets import DATASETS
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.sections import Data
from asgmcli.tasks.recognition.cost import expected
from asgmcli.tasks.recognition.data import build_data, plan_of
from asgmcli.train.schedule import learning_rate
from tests.tiny_training import tiny

RECIPES = Path(__file__).parents[3] / "recipes"


def size_of(data: Data) -> Size | None:
    found: Size = DATASETS[data.dataset].SIZE
    return found


def of_table(name: str, row: str | None = None) -> RecognitionRecipe:
    recipe = load_recipe(RECIPES / f"table1_{name}.yaml", row)
    assert isinstance(recipe, RecognitionRecipe)
    return recipe


@pytest.mark.parametrize(
    ("name", "released", "long"),
    [
        ("ucf51_1shot", 300, 6_100),
        ("ucf51_5shot", 1_550, 5_850),
        ("kinetics400_1shot", 2_500, 299_500),
        ("kinetics400_5shot", 12_500, 297_500),
        ("vggsound_1shot", 1_900, 229_300),
        ("vggsound_5shot", 9_650, 227_750),
    ],
)
def test_fifty_epochs_of_either_list(name: str, released: int, long: int) -> None:
    for row, steps, other in ((None, released, long), ("asgm_former_long", long, released)):
        recipe = of_table(name, row)
        counts = expected(recipe, size_of)
        assert counts is not None
        assert 50 * counts.steps == steps
        (key,) = counts.otherwise
        assert key == f"train.epoch={'unlabeled' if row is None else 'labeled'}"
        assert 50 * counts.otherwise[key] == other
        assert counts.light_epochs == 5


def test_warm_up_and_milestones_follow_the_counting() -> None:
    """UCF-51 at one label: 6 steps an epoch, so that unlabelled clips come with step 30, the falls with 250 and 280."""
    recipe = of_table("ucf51_1shot")
    plan = plan_of(recipe, 51, 4850)
    assert all(key.stream == "labeled" for step in plan.batches(4) for key in step)
    first = next(plan.batches(5))
    assert [key.stream for key in first] == ["labeled"] * 8 + ["unlabeled"] * 40
    rates = [learning_rate(recipe.train.optimizer, step, 300) for step in range(300)]
    falls = [step for step in range(1, 300) if rates[step] != rates[step - 1]]
    assert falls == [250, 280]  # 25/30 and 28/30 of the epochs
    assert rates[0] == 5e-3


def test_the_thresholds_status_is_of_the_clips_that_were_seen() -> None:
    """45 epochs of 240 of 4,850 clips meet nine in ten of them; the others never have a label."""
    plan = plan_of(of_table("ucf51_1shot"), 51, 4850)
    threshold = FlexibleThreshold(4850, 51, 0.3)
    sure = torch.eye(51)
    for epoch in range(5, 50):
        for step in plan.batches(epoch):
            numbers = torch.tensor([key.number for key in step if key.stream == "unlabeled"])
            threshold.select(numbers, sure[numbers % 51])
    seen = int((threshold.state_dict()["labels"] >= 0).sum())
    assert seen / 4850 == pytest.approx(1 - (1 - 240 / 4850) ** 45, abs=0.02)


def test_labelled_clips_that_fill_no_batch_make_no_epoch(demo: Path, tmp_path: Path) -> None:
    make: Callable[..., RecognitionRecipe] = tiny
    with pytest.raises(DataError, match="10 labelled clips fill no batch of 11"):
        build_data(make(tmp_path, demo, train__epoch="labeled", train__batch=11))
    assert build_data(make(tmp_path, demo, train__epoch="labeled", train__batch=4)).steps == 2
