"""`asgm status`: how far long commands are, read from the status.json that each keeps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asgmcli.errors import DataError
from asgmcli.options import json_option

if TYPE_CHECKING:
    from asgmcli.report.table import Cell, Table
    from asgmcli.status import Found

USUAL = (Path("runs"), Path("data"))
MOST = 30
"""Lines that are shown without --all."""
NUMBERS = 3
"""Last numbers that are shown of each command."""


@click.command("status", short_help="show how far commands are that work or worked")
@click.argument("places", metavar="[PLACE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Show it again and again, until nothing runs or Ctrl-C.")
@click.option("--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between, s.")
@click.option("--all", "show_all", is_flag=True, help=f"Ended ones too, however many.  [default: {MOST} newest]")
@json_option
def command(places: tuple[Path, ...], watch: bool, every: float, show_all: bool, as_json: bool) -> None:
    """Show how far commands are that work or worked in PLACE: folders, or files named status.json.

    Without PLACE it looks below runs/ and data/. Every line tells the phase, the rate, the time left over all phases,
    and the last numbers. A command whose process is gone without having said so is shown as `killed`.

    \b
    asgm status
    asgm status --watch
    asgm status runs/demo --json
    """
    from asgmcli.console import make_console
    from asgmcli.status import find_statuses

    for place in places:
        if not place.exists():
            raise DataError(f"{place}: there is no such folder or file.")
    console = make_console(stderr=False)
    try:
        while True:
            found = find_statuses(places or USUAL)
            shown = found if show_all else found[:MOST]
            if as_json:
                click.echo(json.dumps({"commands": [_data(status) for status in shown]}))
            elif not shown:
                where = ", ".join(map(str, places or USUAL))
                console.print(f"Nothing works or worked in {where}: no status.json there.")
            else:
                if watch and console.is_terminal:
                    console.clear()
                console.print(status_table(shown).rich())
                if len(shown) < len(found):
                    console.print(f"{len(found) - len(shown)} older ones: --all")
            if not watch or not any(status.running for status in found):
                return
            time.sleep(every)
    except KeyboardInterrupt:
        return


def status_table(found: list[Found]) -> Table:
    """Return a line for each command."""
    from asgmcli.report.table import Table

    columns = ["what", "state", "phase", "done", "rate", "left", "last numbers", "where"]
    return Table("", columns, [_line(status) for status in found])


def _data(status: Found) -> dict[str, object]:
    return {**status.data, "path": str(status.path), "running": status.running, "state": _state(status)}


def _state(status: Found) -> str:
    return "killed" if status.gone and status.data["state"] == "running" else str(status.data["state"])


def _line(status: Found) -> list[Cell]:
    from asgmcli.progress import spoken_time

    data, state = status.data, _state(status)
    of, rate, left = data.get("of"), data.get("rate"), data.get("seconds_left")
    phase, numbers = data.get("phase_seconds_left"), data.get("numbers")
    told = spoken_time(left) if isinstance(left, (int, float)) else ""
    if not told and isinstance(phase, (int, float)):
        told = f"{spoken_time(phase)} in this phase"
    first = list(numbers.items())[:NUMBERS] if isinstance(numbers, Mapping) else []
    where = f"{data.get('host')}:{data.get('process')}" if status.running else _age(data)
    return [
        f"{data.get('command')} {data.get('title')}",
        state if not data.get("message") or state == "finished" else f"{state}: {data['message']}",
        str(data["phase"]),
        f"{data.get('step')}" if of is None else f"{data.get('step')} of {of}",
        f"{rate:.3g}/s" if isinstance(rate, (int, float)) else "",
        told if status.running else "",
        "  ".join(f"{name} {value:.4g}" for name, value in first),
        where,
    ]


def _age(data: Mapping[str, object]) -> str:
    """Return how long ago a command was last heard of."""
    from datetime import datetime, timezone

    from asgmcli.progress import spoken_time

    try:
        last = datetime.fromisoformat(str(data.get("updated")))
        return f"{spoken_time(max(0.0, (datetime.now(timezone.utc) - last).total_seconds()))} ago"
    except (ValueError, TypeError):
        return "?"
