"""How long the command line takes to answer, beside Python itself."""

from __future__ import annotations

import subprocess
import sys

from asgmcli.report.timing import Timing, repeat

TITLE = "Answer of the command line, new processes"
COMMANDS = {"python alone": ["-c", "pass"], "asgm --help": ["-m", "asgmcli", "--help"]}


def measure(repeats: int) -> list[Timing]:
    """Wall-clock time of `asgm --help` and of a Python that does nothing, each in `repeats` processes."""

    def start(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    return [repeat(name, lambda arguments=part: start(arguments), repeats) for name, part in COMMANDS.items()]  # type: ignore[misc]
