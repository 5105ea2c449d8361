"""`asgm localize`: locate the source of the sound in a clip, a folder or a manifest."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from asgmcli.errors import DataError, InterruptedByKeyboard, UsageError
from asgmcli.options import json_option, localizer_option, localizer_weights_option, refuse_to_replace, shard_of
from asgmcli.ranks.device import device_of_localizer, device_option
from asgmcli.signals import interruptible

if TYPE_CHECKING:
    from rich.console import Console

    from asgmcli.localize.outputs import ClipFiles, Localized, MapSettings

KINDS = ("overlay", "strip", "maps", "boxes")
SETTINGS_NAME = "localize.json"


class LocalizedAll(TypedDict):
    """Content of `--json`: the findings in each clip, how many were finished before, and which failed and why."""

    clips: list[Localized]
    skipped: int
    failed: list[dict[str, str]]
    failed_list: str | None


@click.command(name="localize", short_help="show where the sound of a clip comes from")
@click.argument("path", type=click.Path(path_type=Path))
@localizer_option
@localizer_weights_option
@click.option(
    "--write",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="What is written; repeatable.  [default: all; for a manifest maps and boxes]",
)
@click.option("--frames", type=click.IntRange(1, 64), default=8, show_default=True, help="Pictures in the strip.")
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="Maps a second, at most one a frame.  [default: motion 10, fnac 4]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Heat inside a box, from 0 to 1.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="Least confidence of a box of the motion localizer, from 0 to 1.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the results.  [default: this one; for a folder or manifest ./localized]",
)
@click.option("--shard", metavar="I/N", help="Of a folder or manifest only the I-th of N parts, I from 1.")
@click.option(
    "--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes, for many clips."
)
@device_option
@click.option("--overwrite", is_flag=True, help="Replace results that are there.")
@json_option
@interruptible("Stopped. The same command goes on where it was.")
def command(
    path: Path,
    localizer: str | None,
    weights: Path | None,
    kinds: tuple[str, ...],
    frames: int,
    fps: float | None,
    threshold: float,
    confidence: float,
    out: Path | None,
    shard: str | None,
    workers: int,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show where the sound of PATH comes from: a clip, a folder of clips, or a manifest.

    Writes the clip with a heat map over it and its sound (_overlay.mp4), a picture of some moments (_strip.png), the
    maps (_maps.npz: float16 [T,h,w] in 0..1, their times in seconds and confidences) and the box around the hottest
    region at each time (_boxes.json). A box is drawn only if the clip's sound fits the motion better than other sounds
    do. In a folder or manifest, finished clips are skipped: run it again to continue.

    \b
    asgm localize clip.mp4
    asgm localize clips/ --weights runs/demo_localizer/fnac/seed0
    asgm localize data/demo/manifest.csv --out maps --shard 1/4
    """
    from asgmcli.console import make_console
    from asgmcli.localize.outputs import NO_WEIGHTS, MapSettings, check_there, choose_localizer

    console = make_console()
    check_there(path)
    name = choose_localizer(localizer, weights)
    if localizer is None and weights is None:
        console.print(NO_WEIGHTS)
    many = path.is_dir() or path.suffix.lower() == ".csv"
    if shard and not many:
        raise UsageError(f"--shard divides the clips of a folder or manifest; {path} is one clip.")
    manifest = path.suffix.lower() == ".csv" or (path / "manifest.csv").is_file()
    write = tuple(kind for kind in KINDS if kind in kinds) or (("maps", "boxes") if manifest else KINDS)
    settings = MapSettings(name, weights, fps, frames, threshold, confidence, write, device_of_localizer(name, device))
    if many:
        folder = out or Path("localized")
        jobs = _shard(list(_clips(path, folder, manifest)), shard)
        result = _run_many(jobs, settings, folder, shard, workers, overwrite, console)
    else:
        result = _run_one(path, settings, out or Path(), overwrite, console)
    if as_json:
        click.echo(json.dumps(result))
    if result["failed"]:
        first = result["failed"][0]
        raise DataError(
            f"{len(result['failed'])} of {len(jobs)} clips could not be localized, listed in {result['failed_list']}; "
            f"the first: {first['reason']}"
        )


def _clips(path: Path, out: Path, manifest: bool) -> Iterator[ClipFiles]:
    """Yield the clips of a manifest, or all videos of a folder except those in `out`."""
    from asgmcli.data.manifest import read_manifest
    from asgmcli.localize.outputs import ClipFiles
    from asgmcli.prepare.datasets.listing import VIDEO_SUFFIXES, walk_files

    if manifest:
        rows = read_manifest(path)
        for row in rows.rows:
            if Path(row.id).is_absolute() or ".." in Path(row.id).parts:
                raise DataError(f"{rows.path}: the id {row.id!r} would lead out of {out}. Rename it.")
            video = rows.resolve(row)
            # Without a sound file the clip itself is read, and the error says that it has none.
            yield ClipFiles(row.id, video, rows.resolve_audio(row) or video, out / row.id)
        return
    inside = out.resolve()
    videos = [file for file in walk_files(path) if file.suffix.lower() in VIDEO_SUFFIXES]
    videos = [file for file in videos if inside == path.resolve() or inside not in file.resolve().parents]
    videos = [file for file in videos if not file.name.endswith("_overlay.mp4")]
    if not videos:
        raise DataError(f"No video under {path}; a video ends in {', '.join(sorted(VIDEO_SUFFIXES))}.")
    names = [file.relative_to(path).with_suffix("").as_posix() for file in videos]
    for file, name in zip(videos, names, strict=True):
        unique = name if names.count(name) == 1 else file.relative_to(path).as_posix()
        yield ClipFiles(unique, file, file, out / unique)


def _shard(jobs: list[ClipFiles], shard: str | None) -> list[ClipFiles]:
    """Return part `i/n` of the clips, by a hash of their ids, so that it does not depend on their order."""
    if shard is None:
        return jobs
    from asgmcli.data.split import hashed

    index, count = shard_of(shard) or (1, 1)
    return [job for job in jobs if hashed(0, job.id) % count == index - 1]


def _run_one(path: Path, settings: MapSettings, out: Path, overwrite: bool, console: Console) -> LocalizedAll:
    from asgmcli.console import progress_bar
    from asgmcli.localize.outputs import ClipFiles, localize

    job = ClipFiles(path.name, path, path, out / path.stem)
    refuse_to_replace(job.targets(settings).values(), overwrite, "name another folder with --out")
    with progress_bar(console, counted=False, transient=True) as progress:
        task = progress.add_task(path.name, total=1.0)
        answer = localize(job, settings, lambda share: progress.update(task, completed=share))
    _warn(answer, console)
    for target in answer["outputs"].values():
        console.print(f"Wrote {target}")
    console.print(f"{answer['maps']} maps in {answer['seconds']:.1f} s.")
    if answer["confidence"] is not None and not answer["warning"]:
        console.print(_sureness(answer, settings.confidence))
    return {"clips": [answer], "skipped": 0, "failed": [], "failed_list": None}


def _sureness(answer: Localized, least: float) -> str:
    if answer["sure"]:
        return f"{answer['sure']} of the maps are sure (confidence from {least:g}); the others have no box."
    return (
        f"No map is sure: the highest confidence is {answer['confidence']:.2f}, below {least:g}, so there is no box. "
        "Other sounds would fit what moves as well. --confidence sets the least."
    )


def _run_many(
    jobs: list[ClipFiles],
    settings: MapSettings,
    out: Path,
    shard: str | None,
    workers: int,
    overwrite: bool,
    console: Console,
) -> LocalizedAll:
    from asgmcli.localize.outputs import localize_all
    from asgmcli.progress import tracked

    _remember(out, settings, overwrite)
    todo = [job for job in jobs if overwrite or not all(t.exists() for t in job.targets(settings).values())]
    if len(todo) < len(jobs):
        console.print(f"{len(jobs) - len(todo)} of {len(jobs)} clips are finished already.")
    done: list[Localized] = []
    failed: list[dict[str, str]] = []
    try:
        with tracked(console, "localize", "localize", out, transient=True) as tell:
            for number, (job, answer) in enumerate(localize_all(todo, settings, workers), start=1):
                tell(number, len(todo))
                if isinstance(answer, str):
                    failed.append({"id": job.id, "path": str(job.path), "reason": answer})
                else:
                    done.append(answer)
                    _warn(answer, console)
    except KeyboardInterrupt:
        raise InterruptedByKeyboard(f"Stopped after {len(done)} clips. Run the same command to go on.") from None
    part = f"-{shard.replace('/', 'of')}" if shard else ""
    listed = _list_failed(out / f"failed{part}.csv", failed)
    console.print(f"{len(done)} clips localized into {out}, {len(failed)} failed.")
    return {"clips": done, "skipped": len(jobs) - len(todo), "failed": failed, "failed_list": str(listed)}


def _remember(out: Path, settings: MapSettings, overwrite: bool) -> None:
    """Record how the maps in `out` are made; refuse other settings, which would mix two kinds in one folder."""
    from asgmcli.files import write_text
    from asgmcli.localize.outputs import weights_file

    now: dict[str, object] = {
        "localizer": settings.localizer,
        "weights_sha256": None,
        "fps": settings.fps,
        "frames": settings.frames,
        "threshold": settings.threshold,
        "confidence": settings.confidence,
    }
    if settings.weights is not None:
        now["weights_sha256"] = hashlib.sha256(weights_file(settings.weights).read_bytes()).hexdigest()
    note = out / SETTINGS_NAME
    if note.is_file() and not overwrite:
        try:
            before = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            raise DataError(f"{note} is broken. Remove it together with the results beside it.") from None
        for key, value in now.items():
            if before.get(key) != value:
                raise UsageError(
                    f"{out} holds results with {key} {before.get(key)}, now asked with {value}. "
                    "Name another folder with --out, or replace all with --overwrite."
                )
        return
    write_text(note, json.dumps(now, indent=2) + "\n")


def _list_failed(path: Path, failed: list[dict[str, str]]) -> Path:
    """Write which clips failed and why; remove an earlier run's list if none did."""
    from asgmcli.files import replacing

    if not failed:
        path.unlink(missing_ok=True)
        return path
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("id", "path", "reason"))
        writer.writeheader()
        writer.writerows(failed)
    return path


def _warn(answer: Localized, console: Console) -> None:
    if answer["warning"]:
        console.print(f"Warning: {answer['path']}: {answer['warning']}, its maps are uniform.")
