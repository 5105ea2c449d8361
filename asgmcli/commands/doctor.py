"""`asgm doctor`: check that the installed packages load together and the machine can do the work."""

from __future__ import annotations

import json
import platform
import sys
from itertools import groupby
from pathlib import Path

import click

from asgmcli import __version__
from asgmcli.errors import InstallError
from asgmcli.options import runs_option


@click.command("doctor", short_help="check that asgm can work on this machine")
@runs_option
@click.option("--data", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="Data's folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object on standard output.")
@click.pass_context
def command(context: click.Context, runs: Path, data: Path, as_json: bool) -> None:
    """Check that asgm can work here: packages, devices, video and sound, folders, extras.

    Exit code 0 if nothing is wrong, else 3, and a line with the mend for each fault. Nothing is left behind.

    \b
    asgm doctor
    asgm doctor --json
    """
    from asgmcli.doctor.findings import Finding
    from asgmcli.doctor.machine import look_at_folders, look_at_media
    from asgmcli.doctor.packages import look_at_packages

    here = f"{platform.platform()}, {Path(__file__).resolve().parents[1]}"
    findings = [Finding("asgm", __version__, f"Python {platform.python_version()} ({sys.executable}), {here}")]
    packages = look_at_packages()
    broken = {item.name for item in packages if item.mend}
    findings += packages
    if not broken & {"av", "numpy", "torch"}:
        findings += look_at_media()
    findings += look_at_folders([data, runs])
    faults = [item for item in findings if item.mend]
    if as_json:
        click.echo(json.dumps({"ok": not faults, "findings": [item.data() for item in findings]}))
    else:
        for group, items in groupby(findings, lambda item: item.group):
            click.echo(f"{group}:")
            for item in items:
                click.echo(f"  {'!' if item.mend else ' '} {item.name}: {item.found}")
        for item in faults:
            click.echo(f"FAULT {item.name}: {item.found}. MEND: {item.mend}")
        click.echo(f"{len(faults)} fault(s)." if faults else "No fault found.")
    if faults:
        context.exit(InstallError.exit_code)
