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
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from asgmcli.commands.train import command
from asgmcli.errors import DataError, UsageError
from asgmcli.runs.lock import held, lock_path, refuse_if_held
from tests.tiny_training import write_recipe

HOLD = """
import os, sys, time
from pathlib import Path
from asgmcli.runs.lock import held
with held(Path(sys.argv[1])):
    if "fork" not in sys.argv:
        print("none", flush=True)
    elif not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(folder: Path, *words: str) -> Iterator[tuple[int, int | None]]:
    """Another process that holds the lock: its id, and its forked child's."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = process.stdout.readline().strip()
    try:
        yield process.pid, None if child == "none" else int(child)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if child.isdigit():
            os.kill(int(child), signal.SIGKILL)


@pytest.mark.long
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
            record = json.loads(lock_path(folder).read_text())
            assert record["process"] == os.getpid()
            with pytest.raises(UsageError, match=f"process {os.getpid()} "):
                refuse_if_held(folder)
    assert not list(tmp_path.iterdir())


def test_a_look_is_waited_for_and_writes_nothing(tmp_path: Path) -> None:
    folder, path = tmp_path / "seed0", lock_path(tmp_path / "seed0")
    path.write_text("left")
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_SH)  # another's look
    refuse_if_held(folder)
    assert path.read_text() == "left"
    released: list[int] = []

    def release() -> None:
        released.append(handle)
        os.close(handle)

    threading.Timer(0.2, release).start()
    with held(folder) as left:
        assert left is None
        assert released == [handle]


RACE = """
import os, sys, time
from pathlib import Path
from asgmcli.runs import lock
lock.PATIENCE_S = 60.0
folder, mark = Path(sys.argv[1]), Path(sys.argv[1]).with_name("mark")
children = []
for _ in range(3):
    children.append(os.fork())
    if not children[-1]:
        children = []
        break
for _ in range(8):
    with lock.held(folder):
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        os.write(1, b".")
        os.sched_yield()
        mark.unlink()
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


def test_only_one_of_many_has_it_at_a_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACE, str(tmp_path / "seed0")]
    told = subprocess.run(command, check=True, timeout=60, capture_output=True).stdout
    assert told == b"." * 4 * 8
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_that_keeps_no_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(DataError, match=rf"seed0\.lock cannot be written: {os.strerror(number)}.*--runs"):
        held(tmp_path / "seed0").__enter__()


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"seed0\.lock cannot be written: .* Name another place with --runs"):
        held(tmp_path / "file" / "seed0").__enter__()


@pytest.mark.long
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
