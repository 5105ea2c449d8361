"""`asgm bench loader`: what is compared is the same work; the figures themselves are asked for on a quiet machine."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from asgmcli.bench import loader, rivals
from asgmcli.bench.footage import KINETICS, UCF, Kind, footage, make_original
from asgmcli.commands.bench import command
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import probe
from asgmcli.media.video import read_clip
from asgmcli.report.timing import Timing, cpu_seconds, interleaved

SMALL = replace(KINETICS, width=128, height=96, seconds=4.0, options={"preset": "ultrafast"})
SMALL_AVI = replace(UCF, width=128, height=96, seconds=4.0)
INDICES = [32 + 8 * place for place in range(8)]


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


def test_decord_is_asked_for_the_same_frames_and_sound(made: tuple[Kind, Path]) -> None:
    if not rivals.has_decord():
        pytest.skip("decord has no wheel here")
    _, path = made
    frames, wave = rivals.decord_sample(path, INDICES, (128, 96), 16_000, 1.0, 2.0)
    own = read_clip(path, INDICES).astype(int)
    assert frames.shape == own.shape
    assert np.abs(frames - own).mean() < np.abs(own[1:] - own[:-1]).mean() / 4
    sound = read_audio(path, 16_000, 1.0, 2.0)
    assert wave.shape == sound.shape
    # decord's sound lags by a millisecond, and by no whole number of samples.
    alike = [np.corrcoef(wave[800:-800], np.roll(sound, shift)[800:-800])[0, 1] for shift in range(-40, 41)]
    assert max(alike) > 0.8


def test_ffmpeg_is_asked_for_the_same_frames(made: tuple[Kind, Path]) -> None:
    program = rivals.find_ffmpeg()
    if program is None:
        pytest.skip("no ffmpeg here")
    kind, path = made
    rivals.start_ffmpeg(program)
    frames = rivals.ffmpeg_frames(program, path, INDICES, kind.fps, (128, 96))
    own = read_clip(path, INDICES).astype(int)
    assert frames.shape == own.shape
    if kind.suffix != ".avi":  # whose time stamps ffmpeg guesses
        assert np.abs(frames - own).mean() < np.abs(own[1:] - own[:-1]).mean() / 4


def test_works_are_timed_in_turns_by_the_processor_time_they_take() -> None:
    calls: list[tuple[str, int]] = []
    works = {name: (lambda number, name=name: calls.append((name, number))) for name in "ab"}
    timings = interleaved(works, 2)  # type: ignore[arg-type]
    assert calls == [(name, number) for number in (-1, 0, 1) for name in "ab"]
    assert [(timing.name, len(timing.milliseconds)) for timing in timings] == [("a", 2), ("b", 2)]
    assert Timing("x", [3.0, 1.0, 2.0]).median == 2.0
    before = cpu_seconds()
    while cpu_seconds() < before + 0.01:
        pass


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (loader.Goal("a", "f", 1.8, "x", 1.8, True), True),
        (loader.Goal("a", "f", 1.79, "x", 1.8, True), False),
        (loader.Goal("a", "f", 0.6, "x", 0.6, False), True),
        (loader.Goal("a", "f", 0.61, "x", 0.6, False), False),
    ],
)
def test_a_goal_says_whether_it_is_met(goal: loader.Goal, met: bool) -> None:
    assert goal.met == met
    assert goal.data()["met"] == met


def test_ratios_by_hand() -> None:
    rounds = {
        "sample": [50.0, 40.0, 10.0],
        "sample from the cache": [10.0, 5.0, 5.0],
        "frames": [30.0, 20.0, 5.0],
        "probe": [4.0, 5.0, 4.0],
        "decord": [100.0, 90.0, 80.0],
        "ffmpeg": [150.0, 130.0, 140.0],
        "start of ffmpeg": [90.0, 80.0, 95.0],
    }
    timings = {name: Timing(name, values) for name, values in rounds.items()}
    found = [(goal.found, goal.wanted, goal.at_least) for goal in loader._sample_goals(timings, KINETICS)]
    assert found == [(2.25, 1.8, True), (0.5, 0.6, False), (5.0, 5, True), (250.0, 150, True)]
    del timings["decord"]
    found = [(goal.found, goal.wanted, goal.at_least) for goal in loader._sample_goals(timings, UCF)]
    assert found == [(5.0, 1.5, True), (250.0, 150, True)]


def test_memory_that_is_kept_is_seen(made: tuple[Kind, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[mmap.mmap] = []

    def keep(_: Path) -> None:
        kept.append(mmap.mmap(-1, 3 << 20))  # memory of its own, not what earlier tests gave back to the process
        kept[-1].write(b"x" * (3 << 20))

    monkeypatch.setattr(loader, "OPENS_BEFORE", 3)
    monkeypatch.setattr(loader, "read_clip", lambda *_: None)
    monkeypatch.setattr(loader, "read_audio", lambda *_: None)
    monkeypatch.setattr(loader, "probe", keep)
    assert loader.memory_an_open([made[1]], 30) == pytest.approx(1024, rel=0.2)


@pytest.mark.long
def test_the_command_tells_every_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small: Callable[..., object] = partial(loader.measure, kinds=(SMALL, SMALL_AVI), rows=50, opens=6)
    monkeypatch.setattr(loader, "measure", small)
    monkeypatch.setattr(loader, "OPENS_BEFORE", 3)
    result = CliRunner().invoke(command, ["loader", "--repeats", "1", "--out", str(tmp_path / "loader.json")])
    assert result.exit_code == 0, result.output
    answer = json.loads((tmp_path / "loader.json").read_text())
    names = {(goal["name"].split(",")[0], goal["file"]) for goal in answer["goals"]}
    assert {("a sample / one from the cache", "h264"), ("a sample / one from the cache", "xvid")} <= names
    assert {("weak + strong view + log-mel", "h264"), ("files probed a second", "xvid")} <= names
    assert {("manifest of 50 rows", ""), ("memory a file opened", "")} <= names
    assert all(goal["found"] >= 0 for goal in answer["goals"])
    assert all(timing["median_ms"] > 0 for timing in answer["timings"])
    assert "goal" in result.output
