from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from asgmcli import files
from asgmcli.data.manifest import write_manifest
from asgmcli.errors import DataError
from asgmcli.files import read_bytes, read_text, remove_strays, replacing, write_bytes, write_text

SMALL = 4096


@contextmanager
def small_disk() -> Iterator[None]:
    """Files may grow to 4 KiB only: what a full disk does to a writer.

    No fixture: pytest reports a test before it ends the test's fixtures, and its own report may go to a larger file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_with_the_permissions_of_any_file(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "one\r\ntwo\n\udcff")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"one\r\ntwo\n\xff"
    (tmp_path / "plain").touch()
    assert (tmp_path / "new" / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert names(tmp_path / "new") == ["a.txt"]


def test_the_temporary_name_is_beside_hidden_and_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "figure.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".figure.")
        assert temporary.name.endswith(".part.png")
        assert not (tmp_path / "figure.png").exists()
        temporary.write_bytes(b"x")
    with replacing(tmp_path / ("long" * 60)) as temporary:
        temporary.write_bytes(b"x")
    assert names(tmp_path) == ["figure.png", "long" * 60]


def test_contents_and_name_are_flushed_before_anyone_sees_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def fsync(handle: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")

    def replace(source: Path, target: Path) -> None:
        order.append("rename")
        os.rename(source, target)

    monkeypatch.setattr(files.os, "fsync", fsync)
    monkeypatch.setattr(files.os, "replace", replace)
    write_bytes(tmp_path / "a", b"x")
    assert order == ["file", "rename", "folder"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_block_that_raises_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "a.txt", "old")

    def fail_halfway() -> None:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_refuses_is_told_and_the_old_file_stays(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a.txt", "old")

    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files.os, failing, fail)
    with pytest.raises(DataError, match="Read-only file system") as caught:
        write_text(tmp_path / "a.txt", "new")
    assert str(tmp_path / "a.txt") in caught.value.message
    assert "unchanged" in caught.value.message
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def _state(path: Path) -> None:
    import torch

    from asgmcli.train.checkpoint import save_state

    save_state(path, {"weights": torch.zeros(SMALL), "step": 1})


def _weights(path: Path) -> None:
    import torch

    from asgmcli.nn.state import write_safetensors

    write_safetensors(path, {"a": torch.zeros(SMALL)}, {})


def _clip(path: Path) -> None:
    from asgmcli.media.write import write_clip

    write_clip(path, np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8), 8, crf=1)


def _manifest(path: Path) -> None:
    write_manifest(path.parent, [], [f"class {number}" for number in range(SMALL)])


WRITERS: dict[str, Callable[[Path], object]] = {
    "notes.txt": lambda path: write_text(path, "x" * 2 * SMALL),
    "last.pt": _state,
    "model.safetensors": _weights,
    "clip.mp4": _clip,
    "classes.txt": _manifest,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_keeps_the_old_file_on_a_full_disk(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    with small_disk(), pytest.raises(DataError, match="cannot be written") as caught:
        WRITERS[name](tmp_path / name)
    assert caught.value.exit_code == 3
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "old"


def test_a_full_disk_says_how_much_is_needed(tmp_path: Path) -> None:
    with small_disk(), pytest.raises(DataError, match=r"takes about 2\.0 MB, [\d.]+ MB are free"):
        write_bytes(tmp_path / "a", b"x" * 2_000_000)


def test_a_killed_writer_leaves_only_what_the_next_save_removes(tmp_path: Path) -> None:
    write_text(tmp_path / "last.pt", "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from asgmcli.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path / "last.pt")], check=False)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "last.pt").read_text() == "old"
    (stray,) = set(tmp_path.iterdir()) - {tmp_path / "last.pt"}
    for other in (".last.txt", ".last.notours.part.pt", ".first.0123456789ab.part.pt"):
        (tmp_path / other).touch()
    assert remove_strays(tmp_path / "last.pt") == [stray]
    assert names(tmp_path) == [".first.0123456789ab.part.pt", ".last.notours.part.pt", ".last.txt", "last.pt"]


def test_only_regular_files_of_a_likely_size_are_read(tmp_path: Path) -> None:
    good = tmp_path / "good.csv"
    good.write_bytes(b"\xef\xbb\xbfa\r\nb\xe9\rc\n")
    assert read_bytes(good, good.stat().st_size) == good.read_bytes()
    assert read_text(good) == "a\nb\udce9\nc\n"
    with pytest.raises(DataError, match=r"good\.csv: larger than"):
        read_bytes(good, good.stat().st_size - 1)
    with pytest.raises(DataError, match="/dev/zero: not a regular file but a device"):
        read_bytes("/dev/zero", 100)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    with pytest.raises(DataError, match="pipe: not a regular file but a pipe"):
        read_text(tmp_path / "pipe")
    with pytest.raises(DataError, match="but a folder"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "gone")
    holes = tmp_path / "holes"
    with holes.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="holes: larger than 512 MiB"):
        read_text(holes)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "file" / "below.txt", "y")
