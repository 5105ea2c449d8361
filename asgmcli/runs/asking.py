"""Many answers of `asgm predict`: a file that grows and goes on after a kill, or lines on standard output."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from asgmcli.data.features import hash_file
from asgmcli.errors import DataError
from asgmcli.prepare.single import MediaFile
from asgmcli.progress import tracked
from asgmcli.runs.answers import LINES, WHOLE, Answers, Form, Shard, key_of, part_of, parts_of, write_out
from asgmcli.runs.bulk import Asked, Bulk, Keep, Told, trained_of
from asgmcli.train.task import Trained


@dataclass(frozen=True)
class Output:
    """The place of the answers: a file or standard output.

    Attributes:
        asked: the network.
        out: the file; None for standard output.
        top: lines of CSV a clip, None for all.
        overwrite: replace what is there.
        folder: of the answers' own files, None for none.
    """

    asked: Asked
    out: Path | None
    top: int | None
    overwrite: bool
    folder: Path | None

    def form(self, trained: Trained) -> Form:
        """Return what a line of the file holds."""
        return Form(trained.columns, self.top, self.out is not None and self.out.suffix.lower() in LINES)

    def about(self, form: Form) -> dict[str, object]:
        """Return what makes the answers; a part of others is not gone on with."""
        _, found = trained_of(self.asked)
        return {
            "network": hash_file(found.weights),
            "changes": list(self.asked.changes),
            "others": {name: hash_file(path) for name, path in self.asked.weights},
            "columns": list(form.columns),
            "top": self.top,
            "lines": form.lines,
            "files": None if self.folder is None else str(self.folder),
        }

    def named(self, bulk: Bulk, files: Sequence[MediaFile], overwrite: bool) -> Bulk:
        """Return how clips are asked about, their answers' files having names in the folder."""
        if self.folder is None:
            return bulk
        folder, names = self.folder, names_of(files)
        return replace(bulk, keep=lambda clip: Keep(folder / names[clip], overwrite))


@dataclass(frozen=True)
class Written:
    """A shard of clips, or all, answered into a file.

    Attributes:
        output: the file and the network.
        bulk: how the clips are asked about.
        files: all clips, of other shards too.
        shard: its number from 1 and how many there are; None for all clips.
        trained: the network.
    """

    output: Output
    bulk: Bulk
    files: Sequence[MediaFile]
    shard: Shard | None
    trained: Trained

    def run(self, console: Console) -> list[str]:
        """Answer what is not answered yet; write the file if it is not a shard's. Return why clips could not be read.

        Raises:
            UsageError: the part that is there was begun with another network or other options.
            DataError: a file cannot be written.
        """
        out = self.output.out
        assert out is not None
        number, count = self.shard or WHOLE
        own = self.files[number - 1 :: count]
        form = self.output.form(self.trained)
        part = part_of(out, (number, count))
        with Answers(part, self.output.about(form), form, self.output.overwrite) as answers:
            keys = {clip: key_of(clip) for clip in own}
            waiting = [clip for clip in own if keys[clip] not in answers.known]
            done = len(own) - len(waiting)
            if done:
                console.print(f"{done} of {len(own)} clips were answered before; going on.")
            # What a killed run left of a clip that it did not finish is replaced.
            bulk = self.output.named(self.bulk, self.files, self.output.overwrite or answers.resumed)
            with tracked(console, "predict", "predict", beside=part if count > 1 else out, transient=True) as tell:
                for told in bulk.ask(waiting, self.trained):
                    answers.add(told, keys[told.clip])
                    _say(told, console)
                    done += 1
                    tell(done, len(own))
            failed = list(answers.failed)
        if count > 1:
            console.print(f"Part {number} of {count}: {len(own)} clips. When all are done, give --merge in its place.")
            return failed
        failed = write_out(out, self.files, [part], form)
        console.print(f"Written to {out}.")
        return failed


def merged(output: Output, files: Sequence[MediaFile], console: Console) -> list[str]:
    """Join the parts of all shards; return why clips could not be read.

    Raises:
        DataError: a part is missing, or a clip in none of them.
    """
    assert output.out is not None
    parts = parts_of(output.out)
    heads = [_head(part) for part in parts]
    if any(head != heads[0] for head in heads):
        odd = next(part for part, head in zip(parts, heads, strict=True) if head != heads[0])
        raise DataError(f"{odd} is of another network or other options than {parts[0]}. Run one of them anew.")
    form = Form(heads[0]["columns"], heads[0]["top"], heads[0]["lines"])
    failed = write_out(output.out, files, parts, form)
    console.print(f"{len(files)} clips of {len(parts)} parts written to {output.out}.")
    return failed


def _head(part: Path) -> dict[str, Any]:
    try:
        with part.open("rb") as file:
            found: dict[str, Any] = json.loads(file.readline())
    except (OSError, ValueError) as error:
        raise DataError(f"{part} cannot be read ({error}). Run that shard again with --overwrite.") from None
    return found


def on_standard_output(
    output: Output,
    bulk: Bulk,
    files: Sequence[MediaFile],
    trained: Trained,
    console: Console,
    *,
    as_json: bool,
    json_lines: bool,
) -> list[str]:
    """Print answers as they come (CSV, JSON lines) or at the end (an object). Return why clips were not read."""
    form = Form(trained.columns, output.top, json_lines)
    whole = replace(form, lines=True)
    told_clips, failed, written = [], [], 0
    with tracked(console, "predict", "predict", output.folder, transient=True) as tell:
        for number, told in enumerate(output.named(bulk, files, output.overwrite).ask(files, trained), start=1):
            _say(told, console)
            if told.error:
                failed.append({"path": str(told.clip.path), "reason": told.error})
            written += len(_files(told))
            if as_json and not told.error:
                told_clips.append(whole.entry(told))
            elif not as_json:
                if not json_lines and number == len(failed) + 1 and not told.error:
                    click.echo(form.csv_head(), nl=False)  # once there is an answer
                click.echo(form.text(form.entry(told)), nl=False)
            tell(number, len(files))
    if output.folder is not None:
        console.print(f"{written} files written into {output.folder}.")
    if as_json:
        _, found = trained_of(output.asked)
        about = {"network": str(found.weights), "task": found.task}
        click.echo(json.dumps({**about, "clips": told_clips, "failed": failed}))
    return [entry["reason"] for entry in failed]


def _files(told: Told) -> list[object]:
    found = told.data.get("files", [])
    return found if isinstance(found, list) else []


def _say(told: Told, console: Console) -> None:
    if told.error:
        console.print(f"Not read: {told.error}")


def names_of(files: Sequence[MediaFile]) -> dict[MediaFile, str]:
    """Return a name for each clip's files: its stem; where others have the same its file name, then with a number."""
    names: dict[MediaFile, str] = {}
    stems = Counter(file.path.stem for file in files)
    taken: set[str] = set()
    tried: Counter[str] = Counter()
    for file in files:
        name = unique = file.path.stem if stems[file.path.stem] == 1 else file.path.name
        while unique in taken:
            tried[name] += 1
            unique = f"{name}_{tried[name] + 1}"
        taken.add(unique)
        names[file] = unique
    return names
