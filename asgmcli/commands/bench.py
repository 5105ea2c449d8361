"""`asgm bench`: measure how fast this machine does the parts of a run."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from asgmcli.bench import SIZES
from asgmcli.options import json_option, refuse_to_replace
from asgmcli.ranks.device import device_option

if TYPE_CHECKING:
    from asgmcli.report.table import Table


@click.group("bench", short_help="time one part of the work on this machine")
def command() -> None:
    """Time one part of the work on this machine; best while it is idle. Each has --out and --json.

    \b
    asgm bench step --size vit_ti
    asgm bench loader --out loader.json
    """


C = TypeVar("C", bound=Callable[..., object] | click.Command)
# What a bench gives: its table and its JSON data; it is given what tells a person how far it is.
Measured = Callable[..., tuple["Table", dict[str, object]]]


def bench(measured: Measured) -> Callable[..., None]:
    """Return a bench's command around `measured`, with --out, --overwrite and --json (which holds the environment)."""

    @functools.wraps(measured)
    @click.option("--out", type=click.Path(path_type=Path), help="File for the JSON.  [default: none is written]")
    @click.option("--overwrite", is_flag=True, help="Replace the file of --out where it is there.")
    @json_option
    @click.pass_context
    def run(context: click.Context, /, out: Path | None, overwrite: bool, as_json: bool, **options: object) -> None:
        from dataclasses import replace

        from asgmcli.console import make_console
        from asgmcli.files import write_text
        from asgmcli.train.environment import environment

        refuse_to_replace([out], overwrite)
        load = os.getloadavg()[0]  # asked beforehand, for the work itself is load
        console = make_console()
        table, found = measured(console.print, **options)
        machine = {**environment(), "load": load}
        note = f"{machine['cpus']} cores, torch {machine['torch']}, load {load:.1f} before"
        table = replace(table, note=f"{table.note} {note}".strip())
        result = {"bench": context.info_name, **found, "environment": machine}
        make_console(stderr=as_json).print(table.rich())
        if out is not None:
            write_text(out, json.dumps(result, indent=2) + "\n")
            console.print(f"Wrote {out}")
        if as_json:
            click.echo(json.dumps(result))

    return run


def repeats(default: int) -> Callable[[C], C]:
    """Add the option --repeats."""
    return click.option(
        "--repeats", type=click.IntRange(1, 1_000_000), default=default, show_default=True, help="How often."
    )


@command.command("step", short_help="time a training step on made-up clips")
@click.option(
    "--size",
    "sizes",
    type=click.Choice(list(SIZES)),
    multiple=True,
    help="Network; repeatable.  [default: vit_ti and vit_s; on a GPU vit_b]",
)
@device_option
@click.option("--labeled", type=click.IntRange(1, 65_536), default=1, show_default=True, help="Labelled clips a step.")
@click.option(
    "--unlabeled", type=click.IntRange(0, 65_536), default=2, show_default=True, help="Unlabelled clips a step."
)
@click.option("--frames", type=click.IntRange(1, 1024), default=8, show_default=True, help="Frames a clip.")
@click.option("--pixels", type=click.IntRange(32, 4096), default=224, show_default=True, help="Height and width.")
@click.option("--sound", is_flag=True, help="ASGM-Former's three networks, where the default is the video's alone.")
@click.option("--threads", type=click.IntRange(1, 4096), default=1, show_default=True, help="Of a CPU.")
@repeats(5)
@click.option(
    "--limit",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    show_default=True,
    help="Seconds of a setting after which no further repeat begins.",
)
@bench
def step(
    say: Callable[[str], object],
    sizes: tuple[str, ...],
    device: str,
    labeled: int,
    unlabeled: int,
    frames: int,
    pixels: int,
    sound: bool,
    threads: int,
    repeats: int,
    limit: float,
) -> tuple[Table, dict[str, object]]:
    """Time a training step on made-up clips: its rate and its memory.

    The rate is a share of what this machine's matrix products reach. On a CPU with and without activation checkpointing
    (five to ten minutes); on a GPU in fp32, in bf16, and compiled.
    """
    from asgmcli.bench import step as steps
    from asgmcli.ranks.device import choose_device

    chosen = choose_device(device)
    modality = "video+audio" if sound else "video"
    first = steps.Setup("", labeled, unlabeled, frames, pixels, modality, device=str(chosen), threads=threads)
    names = sizes or (("vit_b",) if chosen.type == "cuda" else ("vit_ti", "vit_s"))
    measured = [steps.measure(setup, repeats, limit, say) for setup in steps.setups_of(first, names)]
    return steps.table(measured), {"steps": [{**found, "summary": steps.summary(found)} for found in measured]}


@command.command("loader", short_help="time the reading of training samples; takes minutes")
@repeats(20)
@bench
def loader(say: Callable[[str], object], repeats: int) -> tuple[Table, dict[str, object]]:
    """Time the reading of training samples; takes minutes.

    Files like those of Kinetics, VGGSound and UCF-101 are generated and read from themselves and from their copies in a
    cache, probed, and changed for training: processor time on one thread, in turns, medians.
    """
    from asgmcli.bench.loader import measure, table

    timings = measure(repeats, say)
    return table(timings), {"timings": [timing.data() for timing in timings]}


@command.command("predict", short_help="time answers a second, one by one and many at once")
@click.argument("target", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@device_option
@repeats(10)
@bench
def predict(
    say: Callable[[str], object], target: Path, paths: tuple[Path, ...], device: str, repeats: int
) -> tuple[Table, dict[str, object]]:
    """Time how many clips a second the network of RUN answers: one by one, and many at once as `asgm predict` does."""
    from asgmcli.bench.predict import measure, table
    from asgmcli.prepare.single import find_files
    from asgmcli.workers import cores

    clips = find_files(paths)
    say(f"{len(clips)} clips: {repeats} rounds")
    timings = measure(target, device, clips, repeats)
    return table(timings, cores()), {"timings": [timing.data() for timing in timings], "cores": cores()}
