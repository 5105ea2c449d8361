"""The same files prepared in processes here and on a Ray cluster of two machines, one of which goes away midway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from asgmcli.cli import main
from asgmcli.cluster import _LOST, MOST_LOSSES, _Cores, ray_cluster
from asgmcli.data.features import Features
from asgmcli.data.manifest import read_manifest
from asgmcli.data.segments import read_segments
from asgmcli.data.windows import WindowSet
from asgmcli.errors import DataError
from asgmcli.prepare import extract
from asgmcli.prepare.extract import Extraction, FrameClips, ensure_features
from asgmcli.recipe.events import FrameInput
from asgmcli.workers import Failure, run_tasks
from tests.prepare.test_extract import SECONDS, Brightness
from tests.test_workers import behave

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[1]


class Cluster:
    """A head without cores and two machines of a core each, as processes of this one."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as Local

        self.local = Local(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.address = self.local.address
        self.machines: list[Any] = []
        for _ in range(2):
            self.gain_one()

    def gain_one(self) -> None:
        ends = signal.getsignal(signal.SIGTERM)
        self.machines.append(self.local.add_node(num_cpus=1))
        signal.signal(signal.SIGTERM, ends)  # ray sets one that takes its processes down

    def lose_one(self) -> None:
        self.local.remove_node(self.machines.pop(), allow_graceful=False)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    for name in ("RAY_USAGE_STATS_ENABLED", "PYTHONBREAKPOINT"):  # which ray sets
        monkeypatch.setenv(name, "0")
    ends = signal.getsignal(signal.SIGTERM)
    made = Cluster()
    signal.signal(signal.SIGTERM, ends)  # ray sets one that takes its processes down
    yield made
    made.local.shutdown()  # type: ignore[no-untyped-call]  # ray's tests have no types


def slowly(task: int) -> int:
    time.sleep(0.2)
    return task * task


def test_inputs_that_crash_hang_or_raise_cost_only_themselves(cluster: Cluster) -> None:
    tasks = ["a", "killed", "b", "exit", "hang", "c", "raise", "d"]
    with ray_cluster(cluster.address):
        answers: dict[str, Any] = dict(run_tasks(behave, tasks, 1, limit_s=2.0))
        in_order = [task for task, _ in run_tasks(slowly, range(8), 1, 10.0, ahead=3)]
    assert {name: answers[name] for name in "abcd"} == {name: f"{name} done" for name in "abcd"}
    assert answers["killed"] == Failure("crash", "the process reading it died (signal SIGKILL)")
    assert answers["hang"] == Failure("timeout", "no answer within 2 s")
    assert answers["raise"] == Failure("error", "ValueError: not a number")
    assert in_order == list(range(8))
    assert dict(run_tasks(slowly, [3], 1, 10.0)) == {3: 9}  # here again


def test_a_machine_that_goes_away_loses_nothing_and_all_of_them_end_the_command(cluster: Cluster) -> None:
    with ray_cluster(cluster.address):
        answers = run_tasks(slowly, range(40), 1, 10.0)
        found = [next(answers) for _ in range(6)]
        cluster.lose_one()
        found += answers
        assert sorted(found) == [(number, number * number) for number in range(40)]
        cluster.gain_one()
        cluster.lose_one()  # which the cluster has not noticed when its core is asked for
        assert dict(run_tasks(slowly, range(8), 1, 10.0)) == {number: number * number for number in range(8)}
        rest = run_tasks(slowly, range(40), 1, 10.0)
        next(rest)
        cluster.lose_one()
        with pytest.raises(DataError, match="Every core of the Ray cluster is gone"):
            list(rest)


def asgm(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stderr


def prepared(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("status.json", "summary.json") and "journal" not in str(path)
    }


def test_a_signal_that_comes_while_it_waits_ends_it_as_anywhere() -> None:
    def wait(awaited: list[object], num_returns: int, timeout: float) -> None:
        raise SystemError("<cyfunction wait> returned a result with an exception set") from KeyboardInterrupt()

    cores = object.__new__(_Cores)
    cores.ray, cores.working, cores.asked = SimpleNamespace(wait=wait), {}, {"answer": "core"}
    with pytest.raises(KeyboardInterrupt):
        list(cores.ended(more=True))


def test_an_input_that_takes_core_after_core_along_is_given_up() -> None:
    class Lost(Exception):
        pass

    def get(answer: object) -> None:
        raise Lost

    cores = object.__new__(_Cores)
    cores.ray = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=Lost))
    cores.new_core = lambda: SimpleNamespace(version=SimpleNamespace(remote=object))
    cores.asked, cores.idle, cores.working, cores.losses, cores.tries = {}, [], {}, Counter(), 0
    found = []
    for _ in range(MOST_LOSSES):
        cores.working["answer"] = ("core", 0, "task")
        found.append(cores._result("answer")[2])
    assert found[:-1] == [_LOST] * (MOST_LOSSES - 1)
    assert isinstance(found[-1], Failure)
    assert found[-1].reason == "crash"


def lose_one_midway(cluster: Cluster, cache: Path) -> None:
    while len(list(cache.rglob("*.*"))) < 10:
        time.sleep(0.05)
    cluster.lose_one()


def test_a_data_set_is_prepared_to_the_same_bytes(cluster: Cluster, demo: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for place, clip in enumerate(sorted((demo / "clips").rglob("*.mp4"))):
        target = raw / f"class{place % 3}" / clip.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(clip.read_bytes())
    (raw / "class0" / "broken.mp4").write_bytes(b"no video")
    options = ("--root", raw, "--verify", "--drop-silent", "--seed", 3)
    for name, own in (("here", ("--workers", 1)), ("there", ("--ray", cluster.address))):
        cache = tmp_path / f"cache_{name}"
        lost = threading.Thread(target=lose_one_midway, args=(cluster, cache), daemon=True)
        if name == "there":
            lost.start()
        asgm("prepare", "folder", *options, *own, "--out", tmp_path / name, "--cache", cache)
        if name == "there":
            lost.join()
    one, other = (prepared(tmp_path / f"cache_{name}") for name in ("here", "there"))
    assert len(one) > 60
    assert list(one.values()) == [other[name] for name in one]
    tables = [
        (tmp_path / name / "manifest.csv").read_text().replace(f"cache_{name}", "cache") for name in ("here", "there")
    ]
    assert tables[0] == tables[1]
    quarantined = [(tmp_path / name / "quarantine.csv").read_bytes() for name in ("here", "there")]
    assert quarantined[0] == quarantined[1]
    assert len(cluster.machines) == 1


def slow_features(folder: Path) -> Features:
    manifest = read_manifest(folder)
    windows = WindowSet(manifest, read_segments(manifest), SECONDS)
    frames = FrameClips(windows, FrameInput(size=16, resize_to=16))
    wanted = Extraction("bright", frames, SlowBrightness, (SECONDS, 3), "none", {})
    return ensure_features(wanted, torch.device("cpu"), 0, None)


class SlowBrightness(Brightness):
    def forward(self, frames: Tensor) -> Tensor:
        time.sleep(0.2)
        return super().forward(frames)


def test_features_are_made_to_the_same_bytes(
    cluster: Cluster, own_events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "WRITTEN_AT_ONCE", 1)
    there = tmp_path / "there"
    there.mkdir()
    for path in own_events.iterdir():
        (there / path.name).symlink_to(path)

    def lose_one_after_two_clips() -> None:
        done = there / "features"
        while not list(done.glob("*.npy")):  # they are whole
            with suppress(FileNotFoundError):
                if any(len(path.read_text().splitlines()) >= 2 for path in done.glob(".*.part/done.txt")):
                    break
            time.sleep(0.05)
        cluster.lose_one()

    slow_features(own_events)
    lost = threading.Thread(target=lose_one_after_two_clips, daemon=True)
    with ray_cluster(cluster.address):
        lost.start()
        slow_features(there)
        lost.join()
    ours, theirs = (sorted((folder / "features").glob("*.npy")) for folder in (own_events, there))
    assert len(ours) == len(theirs) == 1
    assert ours[0].read_bytes() == theirs[0].read_bytes()
    assert len(cluster.machines) == 1


def test_no_cluster_is_told_in_a_line(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    (tmp_path / "raw" / "a").mkdir(parents=True)
    script = [
        sys.executable,
        "-m",
        "asgmcli",
        "prepare",
        "folder",
        "--root",
        tmp_path / "raw",
        "--out",
        tmp_path / "out",
    ]
    found = subprocess.run([*map(str, script), "--ray", "127.0.0.1:9"], capture_output=True, text=True, check=False)
    assert found.returncode == 3
    assert "No Ray cluster at 127.0.0.1:9" in found.stderr
    assert not (tmp_path / "out" / "manifest.csv").exists()
