"""`asgm bench`: how fast this machine is at what a run is made of."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import click

from asgmcli.errors import UsageError

BENCHES = ("masks", "startup")


@click.command("bench")
@click.argument("what", type=click.Choice(BENCHES))
@click.option("--repeats", type=click.IntRange(min=1), help="How often it is timed.  [default: masks 200, startup 10]")
@click.option("--out", type=click.Path(path_type=Path), help="File for the JSON.  [default: none is written]")
@click.option("--overwrite", is_flag=True, help="Replace the file of --out where it is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, the rest on standard error.")
def command(what: str, repeats: int | None, out: Path | None, overwrite: bool, as_json: bool) -> None:
    """Time one piece of the work on this machine; best while it does nothing else.

    \b
    masks    draw a training step's masks, 64 clips x 8 frames x 196 tokens, on one thread
    startup  answer `asgm --help`

    \b
    asgm bench masks
    asgm bench startup --out startup.json
    """
    from rich.console import Console

    from asgmcli.bench.timing import timing_table
    from asgmcli.files import write_text
    from asgmcli.train.run import environment

    if out is not None and out.exists() and not overwrite:
        raise UsageError(f"{out} is there already. Say --overwrite, or name another file.")
    # Asked beforehand, for the work itself is load; not every system tells.
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    bench = importlib.import_module(f"asgmcli.bench.{what}")
    timings = bench.measure(repeats or bench.REPEATS)
    machine = {**environment(), "load": load}
    busy = "" if load is None else f", load {load:.1f} before"
    note = f"{machine['cpus']} cores, torch {machine['torch']}{busy}"
    result = {"bench": what, "timings": [timing.data() for timing in timings], "environment": machine}
    console = Console(stderr=as_json)
    console.print(timing_table(bench.TITLE, timings, note).rich())
    if out is not None:
        write_text(out, json.dumps(result, indent=2) + "\n")
        console.print(f"Wrote {out}", highlight=False, soft_wrap=True)
    if as_json:
        click.echo(json.dumps(result))
