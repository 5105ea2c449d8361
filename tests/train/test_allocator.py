from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asgmcli.train import allocator

GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def test_nothing_is_changed_where_there_are_no_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(allocator.LARGE_PAGES, raising=False)
    monkeypatch.setattr(allocator, "_offer", lambda: "always madvise [never]")
    assert not allocator.save_memory()
    assert allocator.LARGE_PAGES not in os.environ


@pytest.mark.long
@pytest.mark.skipif("[never]" in allocator._offer(), reason="this system has no large pages")
def test_a_large_tensors_memory_goes_back_to_the_system() -> None:
    """After 32 tensors and then every other one of them is freed, the process is smaller by what they took."""
    code = """
from asgmcli.train.allocator import save_memory
assert save_memory()
import torch
def held():
    return int(open('/proc/self/statm').read().split()[1]) * 4096
tensors = [torch.ones(1 << 20) for _ in range(32)]
before = held()
del tensors[::2]
print((before - held()) / (16 * 4 * 2**20))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(1, abs=0.2)


@pytest.mark.long
@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
@pytest.mark.parametrize(("environment", "kept"), [({}, True), ({"MALLOC_MMAP_THRESHOLD_": "65536"}, False)])
def test_memory_that_is_kept_is_not_asked_for_again(environment: dict[str, str], kept: bool) -> None:
    """Tensors where as many were freed touch few new pages; what the user has set stays."""
    code = """
from asgmcli.train.allocator import keep_memory
print(keep_memory())
import resource, torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    before = faults()
    tensors = [torch.ones(1 << 21) for _ in range(24)]
    last = faults() - before
    del tensors
print(last * resource.getpagesize() / (24 << 23))
"""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    small_pages = {**others, allocator.LARGE_PAGES: "0", **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=small_pages)
    told, touched = done.stdout.split()
    assert told == str(kept)
    assert float(touched) == pytest.approx(0 if kept else 1, abs=0.1)


@pytest.mark.long
@pytest.mark.parametrize(("change", "asked"), [("train.accumulate=2", "save"), ("train.batch=3", "keep")])
def test_training_says_what_becomes_of_memory_before_torch_is_there(tmp_path: Path, change: str, asked: str) -> None:
    code = f"""
import sys
from asgmcli.commands.train import command
from asgmcli.train import allocator
allocator.save_memory = lambda: print("save", "torch" in sys.modules)
allocator.keep_memory = lambda: print("keep", "torch" in sys.modules)
command({[str(tmp_path / "x.yaml"), "--set", change]!r}, standalone_mode=False)
"""
    (tmp_path / "x.yaml").write_text(
        "{name: x, task: recognition, title: x, default_row: a, rows: {a: {title: a}}, data: {dataset: none}, "
        "masks: {kind: tube}}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "the data set is not prepared" in done.stderr
    assert done.stdout == f"{asked} False\n"
