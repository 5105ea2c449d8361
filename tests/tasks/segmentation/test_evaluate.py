"""Evaluation: metrics of windows and groups, single frames, another clip's sound, a video's IoU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.metrics.segmentation import f_score, mask_iou
from asgmcli.tasks.segmentation.data import build_data
from asgmcli.tasks.segmentation.evaluate import Measured, evaluate, measure, measure_all, video_iou
from asgmcli.tasks.segmentation.figures import choose_cases
from asgmcli.tasks.segmentation.model import build_state
from asgmcli.train.task import Context
from tests.tasks.segmentation.conftest import Make


@pytest.mark.pictures
def test_metrics_are_those_of_all_frames_at_once(recipe_of: Make, tmp_path: Path) -> None:
    recipe = recipe_of("ufe", "evaluate.group=2", "evaluate.frames=3")
    data = build_data(recipe)
    torch.manual_seed(1)
    state = build_state(recipe, data, Context(torch.device("cpu"), tmp_path))
    found = evaluate(state, data.evaluation)
    state.student.eval()
    logits, truth, alone = [], [], []
    with torch.no_grad():
        for clip in ("test_00000", "test_00001", "test_00002"):
            rows = data.reader.frames[clip]
            for part in (rows[:3], rows[3:]):
                parts = (data.reader.images(part), data.reader.audio(clip, part), data.reader.flow(clip, part))
                logits.append(state.student(*(x[None] for x in parts)).logits[0])
                alone.append(state.student(*(x[:, None] for x in parts)).logits[:, 0])
                truth.append(data.reader.masks(part)[0])
    joined, true = torch.cat(logits), torch.cat(truth)
    assert found.metrics["miou"] == pytest.approx(100 * float(mask_iou(joined, true).mean()), abs=1e-3)
    assert found.metrics["f_score"] == pytest.approx(100 * float(f_score(joined, true, 10).mean()), abs=1e-3)
    assert found.metrics["miou_1"] == pytest.approx(100 * float(mask_iou(torch.cat(alone), true).mean()), abs=1e-3)
    assert set(found.metrics) >= {"miou_exchanged", "f_score_exchanged"}
    found.figures["segmentation"](tmp_path / "segmentation.png")
    assert (tmp_path / "segmentation.png").stat().st_size > 1000
    assert "group of 2 videos" in found.tables["segmentation"].title


def test_validation_measures_the_own_sound_alone(recipe_of: Make, tmp_path: Path) -> None:
    recipe = recipe_of("plain")
    data = build_data(recipe)
    state = build_state(recipe, data, Context(torch.device("cpu"), tmp_path))
    assert data.validation is not None
    assert set(evaluate(state, data.validation).metrics) == {"miou", "f_score"}
    silent = build_data(recipe_of("plain", "audio.kind=none"))
    heard = measure_all(state.student, recipe, [], torch.device("cpu"))
    assert heard == []
    assert all(batch.other is None for batch in silent.evaluation)


def judged(clip: str, iou: list[float], curve: list[float]) -> Measured:
    nothing = np.zeros((1, 1, 3), np.uint8)
    curves = np.tile(np.array(curve), (len(iou), 1))
    flat = np.zeros((1, 1), bool)
    return Measured(clip, 0, {"": np.array(iou)}, {"": curves}, np.ones(len(iou), bool), nothing, flat, flat)


def test_groups_by_hand() -> None:
    found = [judged("a", [0.2, 0.4], [0.9, 0.1]), judged("b", [0.6], [0.0, 0.7]), judged("c", [1.0], [0.5, 0.5])]
    assert measure(found, 1) == pytest.approx({"miou": 55.0, "f_score": 100 * (0.9 + 0.7 + 0.5) / 3})
    two = 100 * (max((2 * 0.9 + 0.0) / 3, (2 * 0.1 + 0.7) / 3) + 0.5) / 2
    assert measure(found, 2)["f_score"] == pytest.approx(two)
    assert video_iou(found) == pytest.approx({"a": 0.3, "b": 0.6, "c": 1.0})


def test_cases_are_best_median_and_worst() -> None:
    chosen = choose_cases([0.1, 0.9, 0.5, 0.7, 0.3, 0.2], count=2)
    assert chosen == {"best": [1, 3], "median": [2, 4], "worst": [5, 0]}
    assert choose_cases([0.5, 0.6]) == {"all": [1, 0]}
