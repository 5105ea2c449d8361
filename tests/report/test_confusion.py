"""The confusion matrix and its worst cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asgmcli.report.confusion import confusion_matrix, confusion_pair, worst_confusions


def test_worst_confusions_in_percent_of_the_true_class() -> None:
    counts = np.array([[8.0, 2.0, 0.0], [5.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
    assert worst_confusions(counts, 3) == [(1, 0, 50.0), (0, 1, 20.0)]
    assert counts[0, 0] == 8


@pytest.mark.pictures
@pytest.mark.parametrize("classes", [3, 20, 70])
def test_confusion_matrix_of_any_size(tmp_path: Path, classes: int) -> None:
    counts = np.eye(classes) * 4
    counts[1] = 0
    path = confusion_matrix(counts, [f"class {index}" for index in range(classes)], tmp_path / "matrix.png")
    with Image.open(path) as image:
        assert image.width > 500
        blue = np.asarray(image.convert("RGB")).astype(int)
    assert ((blue[..., 2] - blue[..., 0]) > 60).any()


def test_confusion_matrix_with_other_class_count(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 classes"):
        confusion_matrix(np.eye(3), ["a", "b"], tmp_path / "matrix.png")


@pytest.mark.pictures
def test_two_matrices_side_by_side(tmp_path: Path) -> None:
    tables = {"one": np.eye(3), "other": np.ones((3, 3))}
    path = confusion_pair(tables, ["a", "b", "c"], tmp_path / "pair.png")
    assert path.stat().st_size > 10_000
