"""Clips a second, seconds and memory of a line; the phases of a run, counted and resumed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from asgmcli.console import make_console
from asgmcli.train import pace
from asgmcli.train.log import MetricsFile, rounded
from asgmcli.train.pace import CLOCK_KEYS, Pace, RunStatus
from tests.tiny_training import tiny, trainer_of


def test_a_line_has_the_clock_and_a_resumed_run_counts_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=10.0)
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    metrics = MetricsFile(tmp_path / "metrics.jsonl", Pace())
    for step in range(10):
        clock.now += 0.5
        metrics.add(step, 0, {"loss": 1.0}, clips=8)
    clock.now += 1.0
    state = metrics.state_dict()
    again = MetricsFile(tmp_path / "metrics.jsonl", Pace())
    again.load_state_dict(state)
    clock.now += 4.0
    again.add(10, 1, {"loss": 1.0}, clips=8)
    again.flush(10, 1)
    first, second = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (first["clips_per_second"], first["seconds"]) == (16.0, 5.0)
    assert (second["clips_per_second"], second["seconds"]) == (2.0, 10.0)
    assert 20 < first["memory_mb"] < 1e6
    assert list(first)[-3:] == list(CLOCK_KEYS)


def test_a_small_rate_keeps_its_digits() -> None:
    assert (rounded(1.23456789), rounded(0.0000123456), rounded(0.0)) == (1.234568, 1.235e-05, 0.0)


def test_phases_of_a_run_and_what_they_are_expected_to_cost(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, train__evaluate_every=1)
    status = RunStatus(None, "run", recipe, steps=15, epoch=5)
    assert [(phase.name, phase.of, phase.cost) for phase in status.phases] == [("train", 15, 1.0), ("evaluate", 3, 1.0)]
    status.resume(step=7, epoch=5, every=1, validated=0)
    assert [phase.done for phase in status.phases] == [7, 1]

    from asgmcli.tasks import recognition

    status.count_views(recognition, recipe)  # ten clips, one view each
    status.expect(clips=1)
    assert status.phases[1].cost == pytest.approx(10 / 3)


def test_a_run_tells_its_learning_rate_norm_speed_and_left_time(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asgmcli.train.log.LINE_SECONDS", -1.0)
    monkeypatch.setattr(pace, "LINE_SECONDS", -1.0)
    trainer = trainer_of(tiny(tmp_path, demo, train__max_steps=10), tmp_path / "runs")
    trainer.console = make_console(file=(out := io.StringIO()))
    trainer.fit()
    line = json.loads(trainer.run.metrics_path.read_text().splitlines()[0])
    assert line["learning_rate"] == 0.0455  # nine steps of 0.05, one of 0.005
    assert line["gradient_norm"] > 0
    assert line.keys() >= set(CLOCK_KEYS)
    steps = [text for text in out.getvalue().splitlines() if ": step " in text]
    assert len(steps) == 10
    assert all(text.endswith(" left") and "clips/s  about " in text for text in steps)
    assert "evaluate, batch 1" in out.getvalue()
    data = json.loads((trainer.run.folder / "status.json").read_text())
    assert (data["state"], data["phase"], data["step"], data["of"]) == ("finished", "evaluate", 1, 1)
    assert data["phases"][0] | {"seconds": 0} == {"name": "train", "step": 10, "of": 10, "seconds": 0}
    assert data["numbers"].keys() >= {"top1", "top5"}
    assert (trainer.run.folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
