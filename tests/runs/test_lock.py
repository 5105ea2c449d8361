"""Two runs in one folder: the second is refused and told of the first; what a killed one left is taken over."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from asgmcli.commands.train import command
from asgmcli.errors import DataError, UsageError
from asgmcli.runs import lock
from asgmcli.runs.lock import Holder, held, lock_path, refuse_if_held
from tests.tiny_training import write_recipe

HOLD = """
import os, sys, time
from pathlib import Path
from asgmcli.runs.lock import held
with held(Path(sys.argv[1])):
    child = os.fork() if "fork" in sys.argv else None
    if child != 0:
        print(child, flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(folder: Path, *words: str) -> Iterator[tuple[int, int | None]]:
    """Another process that holds the lock: its id, and its forked child's."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = process.stdout.readline().strip()
    try:
        yield process.pid, None if child == "None" else int(child)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if child.isdigit():
            os.kill(int(child), signal.SIGKILL)


def test_the_second_is_told_the_firsts_host_and_process(tmp_path: Path) -> None:
    folder = tmp_path / "seed0"
    refuse_if_held(folder)
    with holder(folder) as (process, _):
        for attempt in (lambda: refuse_if_held(folder), lambda: held(folder).__enter__()):
            with pytest.raises(UsageError) as caught:
                attempt()
            assert caught.value.exit_code == 2
            assert f"process {process} on host {socket.gethostname()} is training here" in caught.value.message
            assert str(lock_path(folder)) in caught.value.message


def test_what_a_killed_process_left_is_recognised_and_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "seed0"
    with holder(folder, "fork") as (process, child):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.kill(child or 0, 0)  # a loader's worker may outlive it; that keeps nothing
        assert lock_path(folder).exists()
        refuse_if_held(folder)
        with held(folder) as left:
            assert left is not None
            assert (left.host, left.process) == (socket.gethostname(), process)
            assert left.gone()
            record = json.loads(lock_path(folder).read_text())
            assert record["process"] == os.getpid()
            with pytest.raises(UsageError, match=f"process {os.getpid()} "):
                refuse_if_held(folder)
    assert not list(tmp_path.iterdir())


def test_a_look_waits_an_instant_for_one_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that its killed holder forked has the lock until it closes it; and another's look takes it as well."""
    folder, path = tmp_path / "seed0", lock_path(tmp_path / "seed0")
    path.write_text(json.dumps({"host": socket.gethostname(), "process": os.getpid(), "started": 1}))
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    waits: list[float] = []

    def close(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            os.close(handle)

    monkeypatch.setattr(lock.time, "sleep", close)
    monkeypatch.setattr(lock, "PATIENCE_S", 60.0)
    refuse_if_held(folder)
    assert len(waits) == 3
    with held(folder), pytest.raises(UsageError, match="is training here"):
        refuse_if_held(folder)
    assert len(waits) == 3  # of one that is alive nothing is awaited


RACE = """
import os, sys, time
from pathlib import Path
from asgmcli.runs import lock
lock.PATIENCE_S, lock.POLL_S = 60.0, 0.0
folder, mark = Path(sys.argv[1]), Path(sys.argv[1]).with_name("mark")
children = []
for _ in range(3):
    children.append(os.fork())
    if not children[-1]:
        children = []
        break
for _ in range(50):
    with lock.held(folder):
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        os.sched_yield()
        mark.unlink()
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


def test_only_one_of_many_has_it_at_a_time(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", RACE, str(tmp_path / "seed0")], check=True, timeout=60)


def test_a_record_decides_where_the_file_system_keeps_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    folder, path = tmp_path / "seed0", lock_path(tmp_path / "seed0")
    monkeypatch.setattr(lock.fcntl, "flock", flock)
    monkeypatch.setattr(lock, "PATIENCE_S", 0.01)
    with held(folder) as left:
        assert left is None
    me = Holder.me()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        living = Holder(me.host, other.pid, lock._started(other.pid))
        reused = Holder(me.host, other.pid, living.started + 1)
        for there, free in ((living, False), (Holder("elsewhere", 1, 1), False), (reused, True)):
            path.write_text(json.dumps({"host": there.host, "process": there.process, "started": there.started}))
            if free:
                refuse_if_held(folder)
                with held(folder) as left:
                    assert left == there
            else:
                with pytest.raises(UsageError, match=f"process {there.process} on host {there.host}"):
                    refuse_if_held(folder)
                with pytest.raises(UsageError, match=f"remove {path}"):
                    held(folder).__enter__()
        other.communicate()
    path.write_text(json.dumps({"host": me.host, "process": living.process, "started": living.started}))
    with held(folder) as left:
        assert left == living

    def overtaken(seconds: float) -> None:
        path.write_text(json.dumps({"host": "elsewhere", "process": 7, "started": 1}))

    monkeypatch.setattr(time, "sleep", overtaken)
    with pytest.raises(UsageError, match="process 7 on host elsewhere"):
        held(folder).__enter__()


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"seed0\.lock cannot be written: .* Name another place with --runs"):
        held(tmp_path / "file" / "seed0").__enter__()


def test_the_command_refuses_and_touches_nothing_until_the_first_is_gone(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, folder = write_recipe(tmp_path, demo), tmp_path / "runs/tiny/full/seed0"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.read_text())
    arguments = [str(recipe), "--set", "train.max_steps=2"]
    with holder(folder) as (process, _):
        result = CliRunner().invoke(command, [*arguments, "--overwrite"])
        assert result.exit_code == 2
        assert f"process {process} on host {socket.gethostname()}" in result.output.replace("\n", " ")
        assert [path.name for path in folder.iterdir()] == ["recipe.yaml"]
    (folder / ".recipe.0123456789ab.part.yaml").touch()
    result = CliRunner().invoke(command, [*arguments, "--overwrite"])
    assert result.exit_code == 0, result.output
    assert f"process {process} on host {socket.gethostname()} ended before the run did" in result.output
    assert not [path.name for path in folder.parent.rglob("*") if ".part" in path.name or path.suffix == ".lock"]
