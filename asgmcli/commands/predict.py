"""`asgm predict`: a trained network's answers for clips."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asgmcli.errors import DataError, InterruptedByKeyboard, MediaError, UsageError
from asgmcli.options import answers_option, refuse_to_replace, weights_option
from asgmcli.ranks.device import device_option
from asgmcli.signals import interruptible

if TYPE_CHECKING:
    from rich.console import Console

    from asgmcli.prepare.single import MediaFile
    from asgmcli.report.table import Cell
    from asgmcli.train.task import Trained


@click.command("predict")
@click.argument("target", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), help="Lines a clip, most important first.  [default: the task's]")
@click.option("--out", type=click.Path(path_type=Path), help="Write the CSV to this file instead of standard output.")
@click.option(
    "--files",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write each answer's files (pictures, overlays, captions: the task's) into this folder.",
)
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Masks a second: --set predict.fps=.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Probability of a mask: --set predict.threshold=.")
@click.option("--frames-together", type=click.IntRange(1), help="Frames seen together: --set predict.frames_together=.")
@answers_option
@weights_option
@device_option
@click.option("--overwrite", is_flag=True, help="Replace existing files of --out and --files.")
@click.option("--json", "as_json", is_flag=True, help="Whole answers as one JSON object on standard output, no CSV.")
@interruptible("Stopped; nothing was written.")
def command(
    target: Path,
    paths: tuple[Path, ...],
    top: int | None,
    out: Path | None,
    folder: Path | None,
    changes: tuple[str, ...],
    weights: tuple[tuple[str, Path], ...],
    device: str,
    overwrite: bool,
    as_json: bool,
    **short: float | None,
) -> None:
    """Predict with the network of RUN, the folder of a run or a weight file, for every PATH: clips, folders, manifests.

    A recognizer names the most likely classes of a clip with their probabilities, a localizer the source of the sound
    at several times, a segmenter the share of the picture that sounds; some tasks have files to write as well (--files:
    a segmenter's overlay with the sound, strip, masks). Unreadable clips are listed, the others answered.

    \b
    asgm predict runs/demo/asgm_former/seed0 clip.mp4
    asgm predict runs/demo/asgm_former/seed0 clips/ more.mkv --top 1 --out predictions.csv
    asgm predict runs/demo/asgm_former/seed0 data/demo/manifest.csv --json
    asgm predict runs/ufe_demo/tpavi_nf_df/seed0 clip.mp4 --files masks --fps 2
    """
    from asgmcli.console import make_console
    from asgmcli.prepare.single import find_files
    from asgmcli.ranks.device import choose_device
    from asgmcli.report.table import Table
    from asgmcli.runs.target import find_trained

    console = make_console()
    refuse_to_replace([out], overwrite)
    if as_json and out is not None:
        raise UsageError("--out takes the CSV, --json prints JSON in its place: give one of them.")
    found = find_trained(target)
    files = find_files(paths)
    named = tuple(f"predict.{name}={value}" for name, value in short.items() if value is not None)
    trained = found.load(choose_device(device), (*changes, *named), dict(weights))
    keep = None if folder is None else Keeper(folder, names_of(files), overwrite)
    answers, failed = _ask(trained, files, keep, console)
    if as_json:
        told = [{"path": str(file.path), **data} for file, _, data in answers]
        about = {"network": str(found.weights), "task": found.task}
        click.echo(json.dumps({**about, "clips": told, "failed": failed}))
    elif answers:
        lines: list[list[Cell]] = [[str(file.path), *row] for file, rows, _ in answers for row in rows[:top]]
        _write(Table("", ["path", *trained.columns], lines).csv(), out, console)
    if failed:
        raise DataError(f"{len(failed)} of {len(files)} clips could not be read, the first: {failed[0]['reason']}")


@dataclass
class Keeper:
    """Writes the files of answers into a folder, each clip's under a name of its own."""

    folder: Path
    names: dict[MediaFile, str]
    overwrite: bool
    written: int = 0

    def write(self, clip: MediaFile, files: Mapping[str, Callable[[Path], object]]) -> list[str]:
        """Write the files of a clip's answer; return their paths.

        Raises:
            UsageError: the task has no files, or one is there already.
        """
        if not files:
            raise UsageError("--files: answers of this task have no files.")
        targets = {ending: self.folder / f"{self.names[clip]}{ending}" for ending in files}
        refuse_to_replace(targets.values(), self.overwrite, "name another folder with --files")
        for ending, path in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            files[ending](path)
            self.written += 1
        return [str(path) for path in targets.values()]


def names_of(files: Sequence[MediaFile]) -> dict[MediaFile, str]:
    """Return a name for each clip's files: its stem; where others have the same its file name, then with a number."""
    names: dict[MediaFile, str] = {}
    stems = [file.path.stem for file in files]
    for file in files:
        name = file.path.stem if stems.count(file.path.stem) == 1 else file.path.name
        taken, number = set(names.values()), 2
        unique = name
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        names[file] = unique
    return names


def _ask(
    trained: Trained, files: list[MediaFile], keep: Keeper | None, console: Console
) -> tuple[list[tuple[MediaFile, list[list[Cell]], dict[str, object]]], list[dict[str, str]]]:
    """Return each file's answer as CSV lines and JSON, and the unreadable files with the reason.

    `keep` writes the answers' files, if they are wanted.
    """
    from asgmcli.progress import tracked

    answers, failed = [], []
    try:
        with tracked(console, "predict", "predict", None if keep is None else keep.folder, transient=True) as tell:
            for number, file in enumerate(files, start=1):
                try:
                    answer = trained.predict(file.path, file.audio)
                except MediaError as error:
                    failed.append({"path": str(file.path), "reason": error.message})
                    console.print(f"Not read: {error.message}")
                else:
                    written = {} if keep is None else {"files": keep.write(file, answer.files)}
                    answers.append((file, answer.rows, {**answer.data, **written}))
                tell(number, len(files))
    except KeyboardInterrupt:
        raise InterruptedByKeyboard(f"Stopped after {len(answers)} of {len(files)} clips.") from None
    if keep is not None:
        console.print(f"{keep.written} files written into {keep.folder}.")
    return answers, failed


def _write(text: str, out: Path | None, console: Console) -> None:
    from asgmcli.files import write_text

    if out is None:
        click.echo(text, nl=False)
        return
    write_text(out, text)
    console.print(f"Written to {out}.")
