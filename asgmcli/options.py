"""Options that several commands have, and types of options: shares, written 0.1 or 10%."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import click

from asgmcli.errors import UsageError

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output, the rest on standard error."
)

runs_option = click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Runs' folder."
)
localizer_option = click.option(
    "--localizer",
    type=click.Choice(["motion", "fnac"]),
    help="motion needs no training; fnac needs --weights.  [default: fnac with --weights, else motion]",
)
localizer_weights_option = click.option(
    "--weights", type=click.Path(path_type=Path), help="fnac: a weight file, or the folder of its run."
)

answers_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change how it answers: a key of the run's sections evaluate or predict; repeatable.",
)


def refuse_to_replace(
    paths: Iterable[Path | None], overwrite: bool, other: str = "name another file with --out"
) -> None:
    """Check that none of `paths` is there, unless --overwrite is given.

    Raises:
        UsageError: one is; the message tells `other` ways.
    """
    there = next((path for path in paths if path is not None and path.exists()), None)
    if there is not None and not overwrite:
        raise UsageError(f"{there} is there already. Say --overwrite, or {other}.")


class WeightFile(click.ParamType):  # type: ignore[type-arg]  # click 8.1's takes no argument
    """A weight file of another network by its name: NAME=FILE."""

    name = "NAME=FILE"

    def convert(
        self, value: str | tuple[str, Path], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """Return name and file; anything else is a usage error."""
        if isinstance(value, tuple):
            return value
        name, separator, file = value.partition("=")
        if not (separator and name and file):
            self.fail(f"'{value}': write NAME=FILE, such as vggish=weights/vggish.pth.", param, ctx)
        return name, Path(file)


weights_option = click.option(
    "--weights",
    type=WeightFile(),
    multiple=True,
    help="Weight file of another network that it needs, such as vggish=FILE; repeatable.",
)


class ShareType(click.ParamType):  # type: ignore[type-arg]  # click 8.1's takes no argument
    """A number from 0 to 1, or a percentage."""

    name = "share"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return `value` as a share from 0 to 1; anything else is a usage error."""
        text = str(value).strip()
        number, percent = (text[:-1], True) if text.endswith("%") else (text, False)
        try:
            share = float(number) / (100 if percent else 1)
        except ValueError:
            self.fail(f"'{text}' is no share; write 0.1 or 10%.", param, ctx)
        if not 0 <= share <= 1:
            meant = f"; for a percentage write {text}%" if 1 < share <= 100 and not percent else ""
            self.fail(f"'{text}' is not from 0 to 1{meant}.", param, ctx)
        return share


def shard_of(text: str | None) -> tuple[int, int] | None:
    """Return (index from 1, count) of --shard, or of the Slurm array this runs in, or None."""
    if text is None:
        count = os.environ.get("SLURM_ARRAY_TASK_COUNT", "1")
        if count == "1":
            return None
        try:
            first, step = int(os.environ["SLURM_ARRAY_TASK_MIN"]), int(os.environ.get("SLURM_ARRAY_TASK_STEP", "1"))
            return (int(os.environ["SLURM_ARRAY_TASK_ID"]) - first) // step + 1, int(count)
        except (KeyError, ValueError):
            raise UsageError("The variables of the Slurm array cannot be read; give --shard I/N.") from None
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: write it as I/N with I from 1 to N, such as --shard 1/8.")
    return int(match[1]), int(match[2])
