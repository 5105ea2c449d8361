"""Exchanged pictures and sounds: what the class tokens say is what exchanged files would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asgmcli.data.manifest import read_manifest
from asgmcli.data.reader import ClipReader
from asgmcli.metrics.accuracy import top_k
from asgmcli.runs.verdict import exchanged
from asgmcli.tasks.recognition import build_data, build_state, evaluate
from asgmcli.tasks.recognition.evaluate import exchanged_scores, predict, score, whole
from asgmcli.tasks.recognition.views import evaluation_batches
from asgmcli.train.task import Context
from tests.tiny_training import tiny

CPU = torch.device("cpu")


def test_exchanged_tokens_are_those_of_exchanged_files(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, evaluate__batch=3)
    data = build_data(recipe)
    state = build_state(recipe, data, Context(CPU, tmp_path))
    generator = torch.Generator().manual_seed(7)
    for parameter in state.teacher.parameters():
        parameter.data += 0.6 * torch.randn(parameter.shape, generator=generator)
    seen = score([state.teacher], data.evaluation, CPU)
    found = exchanged_scores(state.teacher, seen, data.classes)
    metrics, labels = evaluate(state, data.evaluation).metrics, whole(seen, 0)[1]
    manifest = read_manifest(demo)
    for what in ("picture", "sound"):
        mixed = exchanged(manifest, "test", what)
        order = {row.id: row for row in mixed.of_split("test")}
        rows = [order[row.id] for row in manifest.of_split("test")]
        reader = ClipReader(mixed, recipe.clip, recipe.audio)
        batches = evaluation_batches(recipe, reader, rows, data.labels, data.mel_statistics)
        (scores,) = predict([state.teacher], batches, CPU)
        torch.testing.assert_close(found[what], scores)
        assert (found[what] - whole(seen, 0)[0]).abs().max() > 1e-3
        # `exchanged` keeps a label with the part that was not exchanged.
        assert metrics[f"top1_other_{what}"] == top_k(scores, labels, 1)


@pytest.mark.parametrize("row", ["video", None])
def test_one_sense_or_one_class_has_nothing_to_exchange(demo: Path, tmp_path: Path, row: str | None) -> None:
    recipe = tiny(tmp_path, demo, row)
    data = build_data(recipe)
    if row is None:
        data.evaluated = [one for one in data.evaluated if one.label == data.evaluated[0].label]
    state = build_state(recipe, data, Context(CPU, tmp_path))
    assert evaluate(state, data.evaluation).metrics.keys() == {"top1", "top5", "top1_student", "top5_student"}
