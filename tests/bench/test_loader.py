"""`asgm bench loader`: what is compared is the same work."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from asgmcli.bench import loader
from asgmcli.bench.footage import KINETICS, UCF, Kind, footage, make_original
from asgmcli.commands.bench import command
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import probe
from asgmcli.report.timing import Timing, interleaved

SMALL = replace(KINETICS, width=128, height=96, seconds=4.0, options={"preset": "ultrafast"})
SMALL_AVI = replace(UCF, width=128, height=96, seconds=4.0)


@pytest.fixture(scope="module", params=[SMALL, SMALL_AVI], ids=["h264", "xvid"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kind, Path]:
    kind: Kind = request.param
    return kind, make_original(tmp_path_factory.mktemp("made") / f"clip{kind.suffix}", kind)


def test_generated_files_are_what_they_are_called(made: tuple[Kind, Path]) -> None:
    kind, path = made
    info = probe(path)
    assert (info.width, info.height, info.fps) == (kind.width, kind.height, kind.fps)
    assert info.frames - round(kind.seconds * kind.fps) in (0, 1)  # the header of AVI counts one more
    assert (info.audio_rate, info.audio_channels) == (44_100, 2)
    assert np.abs(read_audio(path)).max() > 0.1
    pictures = list(footage(64, 48, 3, seed=1))
    assert all(np.array_equal(one, other) for one, other in zip(pictures, footage(64, 48, 3, seed=1), strict=True))
    moved = np.abs(pictures[0].astype(int) - pictures[2]).mean()
    assert 1 < moved < 40  # it moves, and is not noise


def test_works_are_timed_in_turns_by_the_processor_time_they_take() -> None:
    calls: list[tuple[str, int]] = []
    works = {name: (lambda number, name=name: calls.append((name, number))) for name in "ab"}
    timings = interleaved(works, 2)  # type: ignore[arg-type]
    assert calls == [(name, number) for number in (-1, 0, 1) for name in "ab"]
    assert [(timing.name, len(timing.milliseconds)) for timing in timings] == [("a", 2), ("b", 2)]
    assert Timing("x", [3.0, 1.0, 2.0]).median == 2.0


@pytest.mark.long
def test_the_command_tells_every_work_on_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "measure", partial(loader.measure, kinds=(SMALL, SMALL_AVI)))
    result = CliRunner().invoke(command, ["loader", "--repeats", "1", "--out", str(tmp_path / "loader.json")])
    assert result.exit_code == 0, result.output
    answer = json.loads((tmp_path / "loader.json").read_text())
    works = (
        "sample",
        "sample from the cache",
        "frames",
        "probe",
        "a frame a second",
        "a frame a second from the cache",
        "a frame a second, JPEGs",
        "views of a decoded clip",
    )
    assert [timing["name"] for timing in answer["timings"]] == [f"{w}, {k}" for k in ("h264", "xvid") for w in works]
    assert all(timing["median_ms"] > 0 for timing in answer["timings"])
    assert "a second" in result.output
