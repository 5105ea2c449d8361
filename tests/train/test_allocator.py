from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asgmcli.train import allocator


def test_nothing_is_changed_where_there_are_no_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(allocator.LARGE_PAGES, raising=False)
    monkeypatch.setattr(allocator, "_offer", lambda: "always madvise [never]")
    assert not allocator.use_large_pages()
    assert allocator.LARGE_PAGES not in os.environ


@pytest.mark.skipif("[never]" in allocator._offer(), reason="this system has no large pages")
def test_a_large_tensors_memory_goes_back_to_the_system() -> None:
    """After 32 tensors and then every other one of them is freed, the process is smaller by what they took."""
    code = """
from asgmcli.train.allocator import use_large_pages
assert use_large_pages()
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


@pytest.mark.parametrize(("change", "asked"), [("train.accumulate=2", True), ("train.batch=3", False)])
def test_training_that_saves_memory_asks_for_them_before_torch_is_there(
    tmp_path: Path, change: str, asked: bool
) -> None:
    code = f"""
import sys
from asgmcli.commands.train import command
from asgmcli.train import allocator
allocator.use_large_pages = lambda: print("asked", "torch" in sys.modules)
command({[str(tmp_path / "x.yaml"), "--set", change]!r}, standalone_mode=False)
"""
    (tmp_path / "x.yaml").write_text(
        "{name: x, task: recognition, title: x, default_row: a, rows: {a: {title: a}}, data: {dataset: none}, "
        "masks: {kind: tube}}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "the data set is not prepared" in done.stderr
    assert done.stdout == ("asked False\n" if asked else "")
