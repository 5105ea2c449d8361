"""Made-up batches, beside those of a loader."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from asgmcli.bench.made_up import made_up_batch
from asgmcli.tasks.recognition.batch import Labeled, Unlabeled
from tests.tiny_training import tiny, trainer_of


def kinds(part: Labeled | Unlabeled | None) -> dict[str, object]:
    """The shape and type of each tensor, the length of each list."""
    values = {field.name: getattr(part, field.name) for field in fields(part)} if part is not None else {}
    found: dict[str, object] = {}
    for name, value in values.items():
        found[name] = (value.shape, value.dtype) if isinstance(value, torch.Tensor) else len(value or ())
    return found


@pytest.mark.long
def test_they_are_shaped_as_the_loaders(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo)
    real = next(iter(trainer_of(recipe, tmp_path / "runs").data.epoch(1)))
    made = made_up_batch(recipe, 10, 2, 4, torch.device("cpu"))
    assert kinds(made.labeled) == kinds(real.labeled)
    assert kinds(made.unlabeled) == kinds(real.unlabeled) != {}
