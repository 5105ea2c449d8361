"""The file of a bulk prediction: answers are appended as they come, so that a killed run goes on; then it is written.

Beside `--out FILE` lies `FILE.part` (of a shard `FILE.2-of-8.part`) with a line of JSON a clip. When all clips are
there, FILE is written in the order of the clips and the parts are removed.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from asgmcli.errors import DataError, UsageError
from asgmcli.files import replacing
from asgmcli.prepare.single import MediaFile
from asgmcli.report.table import Cell, Table
from asgmcli.runs.bulk import Told
from asgmcli.status import STATUS_NAME

LINES = (".jsonl", ".ndjson")
"""Endings of files with a line of JSON a clip; every other file is CSV."""
Shard = tuple[int, int]
WHOLE: Shard = (1, 1)


def key_of(clip: MediaFile) -> str:
    """Return a key of a clip's files and their state: a changed clip is another one."""
    parts: list[object] = []
    for path in (clip.path, clip.audio):
        if path is not None:
            try:
                state = os.stat(path)
                parts += [os.path.abspath(path), state.st_size, state.st_mtime_ns]
            except OSError:
                parts += [os.path.abspath(path), None]
    return hashlib.blake2b(json.dumps(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def part_of(out: Path, shard: Shard) -> Path:
    """Return the file that answers of a shard (its number from 1, of how many) are appended to."""
    number = "" if shard == WHOLE else f".{shard[0]}-of-{shard[1]}"
    return out.with_name(f"{out.name}{number}.part")


@dataclass(frozen=True)
class Form:
    """The content of a file of answers.

    Attributes:
        columns: of a line of CSV.
        top: lines a clip, None for all.
        lines: a line of JSON a clip with the whole answer, in place of CSV.
    """

    columns: Sequence[str]
    top: int | None
    lines: bool

    def csv_head(self) -> str:
        """Return the first line of the CSV."""
        return Table("", ["path", *self.columns], []).csv()

    def text(self, entry: Mapping[str, Any]) -> str:
        """Return the lines of one clip in the file that is written at the end."""
        if self.lines:
            return json.dumps({name: value for name, value in entry.items() if name not in ("key", "again")}) + "\n"
        rows = [[entry["path"], *row] for row in entry.get("rows", ())]
        return Table("", ["path", *self.columns], rows).csv().split("\n", 1)[1]

    def entry(self, told: Told) -> dict[str, Any]:
        """Return what is kept of an answer: what the file will hold, and no more."""
        path = str(told.clip.path)
        if told.error:
            return {"path": path, "error": told.error, **({} if told.lasting else {"again": True})}
        if self.lines:
            return {"path": path, **told.data}
        kept: list[list[Cell]] = told.rows[: self.top]
        return {"path": path, "rows": kept, **({"files": told.data["files"]} if "files" in told.data else {})}


@dataclass
class Answers:
    """The part of one shard, appended to as answers come; use it as a context manager.

    Args:
        path: of the part.
        about: what makes its answers: network, settings, form. A part of others is refused.
        form: of the lines.
        overwrite: begin anew, whatever is there.

    Raises (on entering):
        UsageError: it was begun with another network or other settings.
        DataError: it cannot be read or written.
    """

    path: Path
    about: Mapping[str, object]
    form: Form
    overwrite: bool = False
    known: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    resumed: bool = False
    _file: IO[str] | None = None

    def __enter__(self) -> Answers:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = None if self.overwrite else self._read()
            if kept is None:
                with replacing(self.path) as temporary:
                    temporary.write_text(json.dumps(dict(self.about)) + "\n", encoding="utf-8")
            self._file = self.path.open("a", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror}. Name another file with --out.") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, told: Told, key: str) -> None:
        """Append an answer, on its way to the disk at once."""
        assert self._file is not None
        entry = self.form.entry(told)
        self._file.write(json.dumps({"key": key, **entry}) + "\n")
        self._file.flush()
        self.known.add(key)
        if told.error:
            self.failed.append(told.error)

    def _read(self) -> int | None:
        """Learn what is there already; drop a torn last line, and clips whose process died. None: nothing is there."""
        if not self.path.exists():
            return None
        keep, again = 0, False
        with self.path.open("rb") as file:
            head = file.readline()
            if not head.endswith(b"\n"):
                return None
            if json.loads(head) != json.loads(json.dumps(dict(self.about))):
                raise UsageError(
                    f"{self.path} was begun with another network or other options ({_difference(head, self.about)}). "
                    "Give the same ones, name another file with --out, or begin anew with --overwrite."
                )
            keep = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                keep += len(line)
                entry = json.loads(line)
                if "again" in entry:
                    again = True
                    continue
                self.known.add(entry["key"])
                if "error" in entry:
                    self.failed.append(entry["error"])
        os.truncate(self.path, keep)
        if again:
            self._drop_again()
        self.resumed = True
        return keep

    def _drop_again(self) -> None:
        with self.path.open("rb") as file, replacing(self.path) as temporary, temporary.open("wb") as target:
            target.writelines(line for line in file if b'"again": true' not in line)


def _difference(head: bytes, about: Mapping[str, object]) -> str:
    there, now = json.loads(head), json.loads(json.dumps(dict(about)))
    names = [name for name in now if there.get(name) != now[name]]
    return "; ".join(f"{name} was {there.get(name)}, now {now[name]}" for name in names[:3])


def write_out(out: Path, clips: Sequence[MediaFile], parts: Sequence[Path], form: Form) -> list[str]:
    """Write the answers of all parts to `out` in the order of the clips, and remove the parts and their status.

    Returns:
        Why clips could not be read, one entry a clip.

    Raises:
        DataError: a clip is in none of them, or a part cannot be read.
    """
    places: dict[str, tuple[int, int]] = {}
    failed: list[str] = []
    for number, part in enumerate(parts):
        for place, entry in _lines(part):
            places[entry["key"]] = (number, place)
    files = [part.open("rb") for part in parts]
    try:
        with replacing(out) as temporary, temporary.open("w", encoding="utf-8", errors="surrogateescape") as target:
            if not form.lines:
                target.write(form.csv_head())
            for clip in clips:
                found = places.get(key_of(clip))
                if found is None:
                    raise DataError(f"{clip.path} was not answered yet, or has changed since. Run its shard again.")
                files[found[0]].seek(found[1])
                entry = json.loads(files[found[0]].readline())
                if "error" in entry:
                    failed.append(entry["error"])
                target.write(form.text(entry))
    finally:
        for file in files:
            file.close()
    for part in parts:
        part.unlink()
        part.with_name(f"{part.name}.{STATUS_NAME}").unlink(missing_ok=True)  # of a shard
    return failed


def _lines(part: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the place of every line but the first, and what it holds."""
    try:
        with part.open("rb") as file:
            place = len(file.readline())
            for line in file:
                yield place, json.loads(line)
                place += len(line)
    except (OSError, ValueError) as error:
        raise DataError(f"{part} cannot be read ({error}). Run that shard again with --overwrite.") from None


def parts_of(out: Path) -> list[Path]:
    """Return the parts of all shards of `out`.

    Raises:
        DataError: there is none, some are missing, or of different numbers of shards.
    """
    found = {}
    for path in out.parent.glob(f"{glob.escape(out.name)}.*-of-*.part"):
        number, _, count = path.name[len(out.name) + 1 : -len(".part")].partition("-of-")
        if number.isdigit() and count.isdigit():
            found[int(number), int(count)] = path
    counts = sorted({count for _, count in found})
    if not counts:
        raise DataError(f"No part of {out} is there. First give --shard 1/N --out {out}, and so on.")
    if len(counts) > 1:
        raise DataError(f"{out} has parts of {' and of '.join(map(str, counts))}; remove those that are not meant.")
    if missing := [number for number in range(1, counts[0] + 1) if (number, counts[0]) not in found]:
        shown = ", ".join(map(str, missing[:20]))
        raise DataError(f"Parts of {out} missing of {counts[0]}: {shown}. Give --shard {missing[0]}/{counts[0]} first.")
    return [found[number, counts[0]] for number in range(1, counts[0] + 1)]
