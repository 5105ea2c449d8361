"""The metrics file, and what a person sees of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asgmcli.errors import DataError
from asgmcli.train.log import LOG_EVERY, MetricsFile, TrainingProgress, describe
from tests.calling import quiet


def test_lines_are_means_of_ten_steps_and_of_what_is_left(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(LOG_EVERY + 3):
        metrics.add(step, step // 7, {"loss": float(step), **({"now_and_then": 1.0} if step == 4 else {})})
    metrics.flush(LOG_EVERY + 2, 1)
    metrics.flush(LOG_EVERY + 2, 1)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {"step": 10, "epoch": 1, "loss": 4.5, "now_and_then": 1.0},
        {"step": 13, "epoch": 1, "loss": 11.0},
    ]


def test_what_was_written_after_the_saved_state_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    assert metrics.state_dict()["size"] == 0
    metrics.write({"step": 1})
    metrics.add(3, 0, {"loss": 2.0})
    state = metrics.state_dict()
    metrics.write({"step": 2})
    path.open("a").write('{"half')
    again = MetricsFile(path)
    again.load_state_dict(state)
    again.flush(4, 0)
    assert path.read_text() == '{"step": 1}\n{"step": 5, "epoch": 0, "loss": 2.0}\n'
    path.write_text("")  # shorter than the state says: no zero bytes are made up
    again.load_state_dict(state)
    assert path.read_text() == ""


def test_what_a_run_left_before_its_first_checkpoint_is_dropped(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.restart()
    assert not metrics.path.exists()
    metrics.add(9, 0, {"loss": 1.0})
    metrics.add(10, 0, {"loss": 3.0})
    metrics.restart()
    metrics.add(9, 0, {"loss": 5.0})
    assert [json.loads(line) for line in metrics.path.read_text().splitlines()] == [
        {"step": 10, "epoch": 0, "loss": 5.0}
    ]


def test_lines_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics\.jsonl cannot be written: No such file"):
        MetricsFile(tmp_path / "gone" / "metrics.jsonl").write({"step": 1})


def test_terms_and_clips_a_second_are_shown() -> None:
    assert describe({"loss": 1.23456, "pseudo_share": 0.451, "pseudo_accuracy": 1.0}) == (
        "loss 1.235  pseudo share 45%  pseudo accuracy 100%"
    )
    console = quiet()
    with TrainingProgress(console, "run", steps=2, done=0) as progress:
        progress.step(0, 0, {"loss": 2.0}, 8)
        progress.step(1, 0, {"loss": 1.0}, 8)
    assert progress.clips == 16
    assert progress.rate > 0
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "run: step 2/2  epoch 1  loss 1.000" in text
    assert "1/2" not in text
