"""Preparing many files: processes that die, runs that are killed and go on, shards."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from asgmcli.prepare import selection as module
from asgmcli.prepare.datasets.listing import Candidate
from asgmcli.prepare.journal import Journal
from asgmcli.prepare.selection import Check, look
from asgmcli.prepare.verify import Facts, Fault, FileCheck, examine
from tests.prepare.prepare_files import clip_bytes, distinct, run, start

GOOD = Facts(2.0, 8.0, 16, 64, 48, True, -20.0, "mark")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clip_bytes(tmp_path_factory.mktemp("clip"))


def dangerous(task: FileCheck) -> Facts:
    if task.id == "hang":
        time.sleep(600)
    if task.id == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    return replace(GOOD, fingerprint=task.id)


@pytest.mark.long
def test_a_file_that_hangs_or_crashes_its_reader_is_left_out_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "examine", dangerous)
    clips = [Candidate(name, tmp_path / name, "dog", "train") for name in ("a", "hang", "b", "crash", "c")]
    calls: list[tuple[int, int]] = []
    answers = look(tmp_path, clips, Check(limit_s=0.5), 2, lambda done, total: calls.append((done, total)))
    assert {name: answer for name, answer in answers.items() if isinstance(answer, Fault)} == {
        "hang": Fault("timeout", "no answer within 0.5 s"),
        "crash": Fault("crash", "the process reading it died (signal SIGSEGV)"),
    }
    assert set(answers) == {"a", "b", "c", "hang", "crash"}
    assert calls == [(number, 5) for number in range(6)]
    monkeypatch.setattr(module, "examine", examine)
    again = look(tmp_path, clips, Check(limit_s=30), 1)
    assert {name: again[name] for name in "abc"} == {name: answers[name] for name in "abc"}
    assert {again["hang"].reason, again["crash"].reason} == {"missing"}  # type: ignore[union-attr]


def test_a_journal_with_a_torn_line_goes_on(tmp_path: Path) -> None:
    with Journal(tmp_path, "files") as journal:
        journal.add("1", GOOD)
        journal.add("2", Fault("corrupt", "x"))
        journal.add("3", Fault("timeout", "x"))
    path = tmp_path / ".prepare/files.jsonl"
    path.write_bytes(path.read_bytes()[:-8])
    with Journal(tmp_path, "files") as journal:
        assert journal.known == {"1": GOOD}
        journal.add("2", Fault("empty", "y"))
    with Journal(tmp_path, "files") as journal:
        assert journal.known == {"1": GOOD, "2": Fault("empty", "y")}


def test_a_changed_file_is_looked_at_again(tmp_path: Path, clip: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"")
    clips = [Candidate("a", path, "dog", "train")]
    assert look(tmp_path, clips, Check(), 1)["a"].reason == "empty"  # type: ignore[union-attr]
    path.write_bytes(clip)
    assert isinstance(look(tmp_path, clips, Check(), 1)["a"], Facts)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, clip: bytes) -> Path:
    """120 clips in three classes, two of them broken."""
    root = tmp_path_factory.mktemp("tree")
    for number in range(120):
        folder = root / f"class{number % 3}"
        folder.mkdir(exist_ok=True)
        content = b"broken" if number in (7, 70) else distinct(clip, number)
        (folder / f"clip{number:03d}.mp4").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def straight(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one uninterrupted run makes of the tree."""
    out = tmp_path_factory.mktemp("straight")
    run("folder", "--root", tree, "--out", out, "--workers", 2, "--verify")
    return out


OUTPUTS = ("manifest.csv", "quarantine.csv", "classes.txt", "summary.json")


def same(one: Path, other: Path) -> None:
    for name in OUTPUTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.long
@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_killed_run_goes_on_to_the_same_bytes(
    tree: Path, straight: Path, tmp_path: Path, how: signal.Signals, code: int
) -> None:
    arguments = ("folder", "--root", tree, "--out", tmp_path, "--workers", 1, "--verify")
    process = start(*arguments)
    journal = tmp_path / ".prepare/files.jsonl"
    limit = time.monotonic() + 60
    while time.monotonic() < limit and (not journal.exists() or journal.read_bytes().count(b"\n") < 3):
        time.sleep(0.005)
    process.send_signal(how)
    text = process.communicate()[0].decode()
    assert process.returncode == code, text
    assert "Traceback" not in text
    before = journal.read_bytes().count(b"\n")
    assert 3 <= before < 120
    assert not (tmp_path / "manifest.csv").exists()
    run(*arguments)
    same(tmp_path, straight)
    assert journal.read_bytes().count(b"\n") <= 121, "files were looked at twice"


@pytest.mark.long
def test_shards_merge_to_the_same_bytes(
    tree: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("folder", "--root", tree, "--out", tmp_path, "--workers", 1, "--verify")
    process = start(*arguments, "--merge")
    assert b"No shards" in process.communicate()[0]
    assert process.returncode == 3
    run(*arguments, "--shard", "3/3")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_STEP", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "10")
    assert "Shard 1 of 3" in run(*arguments)
    assert not (tmp_path / "manifest.csv").exists()
    process = start(*arguments, "--merge")
    assert b"Shards missing of 3: 2." in process.communicate()[0]
    assert process.returncode == 3
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "15")
    run(*arguments)
    process = start(*arguments[:-1], "--merge")
    assert b"made with other settings" in process.communicate()[0]
    run(*arguments, "--merge")
    same(tmp_path, straight)
    parts = [len(path.read_text().splitlines()) - 1 for path in sorted((tmp_path / ".prepare").glob("shard-*-of-*"))]
    assert sum(parts) == 120
    assert min(parts) > 20
