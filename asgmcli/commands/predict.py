"""`asgm predict`: a trained network's answers for clips."""

from __future__ import annotations

from pathlib import Path

import click

from asgmcli.errors import DataError, UsageError
from asgmcli.options import answers_option, refuse_to_replace, shard_of, weights_option
from asgmcli.ranks.device import device_option
from asgmcli.signals import interruptible

FEW = 64
"""Clips up to which this process begins to answer by itself: others take seconds to start."""
PATIENCE_S = 5.0
"""Seconds in which it does."""


@click.command("predict", short_help="answer for clips: classes, spans, maps or masks")
@click.argument("target", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), help="Lines a clip, most important first.  [default: the task's]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write to this file: .jsonl has a line of JSON a clip, others are CSV. Killed, the same command goes on.",
)
@click.option(
    "--files",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write each answer's files (pictures, overlays, captions: the task's) into this folder.",
)
@click.option("--shard", metavar="I/N", help="Part I (from 1) of N only, with --out.  [default: of a Slurm array]")
@click.option("--merge", is_flag=True, help="Join the parts of all shards into --out.")
@click.option("--workers", type=click.IntRange(0), help="Processes.  [default: the cores, for few clips after 5 s]")
@click.option("--together", type=click.IntRange(1), help="Clips a process takes at once.  [default: 8, small ones 32]")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="S",
    help="Seconds that a clip may take in a process.",
)
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Masks a second: --set predict.fps=.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Probability of a mask: --set predict.threshold=.")
@click.option("--frames-together", type=click.IntRange(1), help="Frames seen together: --set predict.frames_together=.")
@answers_option
@weights_option
@device_option
@click.option("--overwrite", is_flag=True, help="Replace existing files of --out and --files.")
@click.option("--json", "as_json", is_flag=True, help="Whole answers as one JSON object on standard output, no CSV.")
@click.option("--json-lines", is_flag=True, help="A JSON object a clip and line on standard output, as it comes.")
@interruptible("Stopped. With --out the same command goes on where it was.")
def command(
    target: Path,
    paths: tuple[Path, ...],
    top: int | None,
    out: Path | None,
    folder: Path | None,
    shard: str | None,
    merge: bool,
    workers: int | None,
    together: int | None,
    time_limit: float,
    changes: tuple[str, ...],
    weights: tuple[tuple[str, Path], ...],
    device: str,
    overwrite: bool,
    as_json: bool,
    json_lines: bool,
    **short: float | None,
) -> None:
    """Predict with the network of RUN, the folder of a run or a weight file, for every PATH: clips, folders, manifests.

    A recognizer names the most likely classes of a clip with their probabilities, a localizer the source of the sound
    at several times, a segmenter the share of the picture that sounds; some tasks have files to write as well (--files:
    a segmenter's overlay with the sound, strip, masks). Unreadable clips are listed, the others answered.

    Many clips are answered several at once, in processes that a broken clip cannot end. With --out a command that was
    stopped or killed goes on where it was; --shard shares the clips out over machines.

    \b
    asgm predict runs/demo/asgm_former/seed0 clip.mp4
    asgm predict runs/demo/asgm_former/seed0 clips/ more.mkv --top 1 --out predictions.csv
    asgm predict runs/demo/asgm_former/seed0 data/demo/manifest.csv --json
    asgm predict RUN clips/ --out all.jsonl --shard 2/8; asgm predict RUN clips/ --out all.jsonl --merge
    asgm predict runs/ufe_demo/tpavi_nf_df/seed0 clip.mp4 --files masks --fps 2
    """
    from asgmcli.console import make_console
    from asgmcli.prepare.single import find_files
    from asgmcli.runs.asking import Output, Written, merged, on_standard_output
    from asgmcli.runs.bulk import Asked, Bulk, default_workers, trained_of

    console = make_console()
    if sum((as_json, json_lines, out is not None)) > 1:
        raise UsageError("--out writes a file, --json and --json-lines print in its place: give one of them.")
    if merge and (shard or out is None):
        raise UsageError("--merge joins all shards into --out FILE; give it without --shard.")
    part = None if merge or (out is None and shard is None) else shard_of(shard)
    if part is not None and out is None:
        raise UsageError("--shard writes a part of --out FILE; name that file.")
    refuse_to_replace([out], overwrite)
    files = find_files(paths)
    named = tuple(f"predict.{name}={value}" for name, value in short.items() if value is not None)
    asked = Asked(target, device, (*changes, *named), weights)
    output = Output(asked, out, top, overwrite, folder)
    if merge:
        failed = merged(output, files, console)
    else:
        trained, _ = trained_of(asked)
        count = len(files) if part is None else len(files[part[0] - 1 :: part[1]])
        patience = PATIENCE_S if workers is None and count <= FEW else 0.0
        bulk = Bulk(asked, default_workers() if workers is None else workers, together, time_limit, patience_s=patience)
        if out is not None:
            failed = Written(output, bulk, files, part, trained).run(console)
        else:
            failed = on_standard_output(output, bulk, files, trained, console, as_json=as_json, json_lines=json_lines)
    if failed:
        raise DataError(f"{len(failed)} of {len(files)} clips could not be read, the first: {failed[0]}")
