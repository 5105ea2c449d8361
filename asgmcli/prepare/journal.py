"""A journal of what was found in each file, kept on disk so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO

from asgmcli.errors import DataError, UsageError
from asgmcli.files import write_text
from asgmcli.prepare.verify import Facts, Fault, FileCheck

FOLDER = ".prepare"
VERSION = 2  # of the check; raise it to discard stored answers
# These may be the machine's fault: they are tried again by the next run.
FLEETING = frozenset(("timeout", "crash", "error"))


def task_key(task: FileCheck) -> str:
    """Return a key of the check and of the files' state: path, size, modification time, depth of the check."""
    parts: list[object] = [VERSION, task.id, task.listen, task.decode]
    for path in (task.path, task.audio, *task.more):
        if path:
            try:
                stat = os.stat(path)
                parts += [path, stat.st_size, stat.st_mtime_ns]
            except OSError:
                parts += [path, None]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


class Journal:
    """Answers by key, appended to a file as they arrive; a line truncated by a kill is ignored.

    Use it as a context manager. `name` separates the journals of shards and of the cache.
    """

    def __init__(self, out: Path, name: str) -> None:
        self.path = out / FOLDER / f"{name}.jsonl"
        self.known: dict[str, Facts | Fault] = {}
        self._stream: IO[str] | None = None

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = False
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True):
                torn = not line.endswith("\n")
                entry = _load(line)
                if entry is not None:
                    self.known[entry[0]] = entry[1]
        self._stream = self.path.open("a", encoding="utf-8", errors="surrogateescape")
        if torn:
            self._stream.write("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        self._stream.close()

    def add(self, key: str, answer: Facts | Fault) -> None:
        """Store an answer on disk at once, except faults that may be the machine's."""
        self.known[key] = answer
        if isinstance(answer, Fault) and answer.reason in FLEETING:
            return
        assert self._stream is not None
        self._stream.write(_dump(key, answer) + "\n")
        self._stream.flush()


def write_shard(out: Path, index: int, count: int, kind: Mapping[str, bool], answers: dict[str, Facts | Fault]) -> Path:
    """Write the answers (by clip id) of shard `index` of `count` atomically; `kind` is what was asked."""
    path = out / FOLDER / f"shard-{index:04d}-of-{count:04d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(dict(kind), sort_keys=True), *(_dump(name, answers[name]) for name in sorted(answers))]
    write_text(path, "\n".join(lines) + "\n")
    return path


def read_shards(out: Path, kind: Mapping[str, bool]) -> dict[str, Facts | Fault]:
    """Return the answers of all shards by clip id.

    Raises:
        DataError: shards are missing, of different counts, or cannot be read.
        UsageError: they were made with other settings than `kind`.
    """
    files = sorted((out / FOLDER).glob("shard-*-of-*.jsonl"))
    counts = sorted({int(file.stem.split("-")[3]) for file in files})
    if not files:
        raise DataError(
            f"No shards in {out / FOLDER}; run `asgm prepare NAME --shard i/n --out {out}` for each i first."
        )
    if len(counts) > 1:
        listed = " and ".join(str(count) for count in counts)
        raise DataError(f"{out / FOLDER} holds shards of {listed}; delete the files of those that are not meant.")
    there = {int(file.stem.split("-")[1]) for file in files}
    gone = [str(number) for number in range(1, counts[0] + 1) if number not in there]
    if gone:
        more = f" and {len(gone) - 20} more" if len(gone) > 20 else ""
        raise DataError(
            f"Shards missing of {counts[0]}: {', '.join(gone[:20])}{more}. "
            f"Run `asgm prepare NAME --shard {gone[0]}/{counts[0]} --out {out}` and so on, then --merge again."
        )
    answers: dict[str, Facts | Fault] = {}
    for file in files:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        if not lines or json.loads(lines[0]) != dict(kind):
            raise UsageError(
                f"{file} was made with other settings: {lines[0] if lines else 'none'}, now {json.dumps(dict(kind))}."
            )
        for line in lines[1:]:
            entry = _load(line)
            if entry is None:
                raise DataError(f"{file} cannot be read; delete it and run that shard again.")
            answers[entry[0]] = entry[1]
    return answers


def _dump(key: str, answer: Facts | Fault) -> str:
    kind = "facts" if isinstance(answer, Facts) else "fault"
    return json.dumps({"key": key, kind: asdict(answer)})


def _load(line: str) -> tuple[str, Facts | Fault] | None:
    try:
        entry = json.loads(line)
        if "facts" in entry:
            return entry["key"], Facts(**entry["facts"])
        return entry["key"], Fault(**entry["fault"])
    except (ValueError, KeyError, TypeError):
        return None
