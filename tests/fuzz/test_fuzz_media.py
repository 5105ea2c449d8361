"""Damaged media files through probe, decode and prepare: refused or read, never a crash, a hang or a lost file."""

from __future__ import annotations

import csv
import json
import random
import resource
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from asgmcli.commands.prepare import command
from asgmcli.data.manifest import read_manifest
from asgmcli.workers import Failure, run_tasks
from tests.fuzz import media_fuzz
from tests.fuzz.mutations import mutated

LIMIT_S = 120.0  # a hang lasts longer, however busy the machine is
MEMORY_GB = 1.5  # of the process that reads; without a file it takes 0.2


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.long)])
def test_damaged_files_are_read_or_refused_and_none_is_lost(tmp_path: Path, count: int) -> None:
    rng = random.Random(6)
    sources = media_fuzz.sources(tmp_path / "sources")
    originals = list(sources.values())
    root = tmp_path / "raw" / "dog"
    root.mkdir(parents=True)
    paths = []
    for number in range(count):
        name = list(sources)[number % len(sources)]
        path = root / f"{number:04d}_{name}"
        path.write_bytes(mutated(sources[name], originals, rng))
        paths.append(str(path))

    seen: Counter[str] = Counter()
    failures, memory, slowest = [], 0.0, 0.0
    for path, answer in run_tasks(media_fuzz.use, paths, 1, LIMIT_S):
        if isinstance(answer, Failure):
            failures.append((path, answer))
        else:
            seen.update(f"{step} {'read' if good else 'refused'}" for step, good in answer.outcomes.items())
            memory, slowest = max(memory, answer.memory_gb), max(slowest, answer.seconds)
    assert not failures
    assert memory < MEMORY_GB
    # Damage that is never noticed, or always, would test nothing.
    assert all(0.03 < seen[f"{step} read"] / count < 0.97 for step in ("probe", "decode", "sound"))

    out = tmp_path / "out"
    options = ["--verify", "--max-bad", "1", "--workers", "1", "--time-limit", str(LIMIT_S), "--json"]
    result = CliRunner().invoke(command, ["folder", "--root", str(root.parent), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    kept = {row.id: row for row in read_manifest(out).rows}
    with (out / "quarantine.csv").open(newline="") as stream:
        left_out = {row["id"]: row["reason"] for row in csv.DictReader(stream)}
    assert kept.keys() | left_out.keys() == {f"dog/{Path(path).name}" for path in paths}
    assert not kept.keys() & left_out.keys()
    assert not {"crash", "timeout", "error"} & set(left_out.values())
    # What --verify lets pass can be trained on.
    for clip in kept:
        media_fuzz.train_on(out, kept[clip])
    usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(json.dumps({"files": count, **dict(sorted(seen.items())), "kept": len(kept), **Counter(left_out.values())}))
    print(f"slowest {slowest:.2f} s, memory {memory:.2f} GB, {usage:.2f} GB in children")
